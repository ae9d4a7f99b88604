"""The page in a real browser: it asks for nothing, breaks nowhere, and the map does what it says."""

import json
import threading
import urllib.request

import pytest
from support.browser import Browser, need_browser
from support.report_jobs import report_job

from producer.report import live
from producer.report.gathering import Gathering
from producer.report.live import LivePage, LiveServer
from producer.report.options import ReportOptions
from producer.report.writing import write_report

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "\u202egnp.exe",
    "x" * 10_000,
    "a\nb\tc\x00d\x1b[31m",
    "\"'&<>",
    "\u200f\u05e9\u05dc\u05d5\u05dd",
    "{{7*7}} ${7*7} `x`",
]
CANVAS = "document.querySelector('#canvas')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(need_browser(), tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


def hostile_id(number):
    return HOSTILE[number] if number < len(HOSTILE) else f"row-{number}"


def bad_rows():
    return [
        {
            "file": "<b>bold</b>.txt",
            "position": 7 + number,
            "id": hostile,
            "reason": f"token id -{number} is negative: {hostile}",
        }
        for number, hostile in enumerate(HOSTILE)
    ]


def shown(browser, job, page, **options):
    browser.open(write_report(job, ReportOptions(**options), page).page.as_uri())
    browser.until(f"{CANVAS}?.dataset.drawn > 0")


def number(browser, name):
    return float(browser.value(f"{CANVAS}.dataset.{name}"))


def test_the_map_can_be_used(browser, tmp_path):
    """Points, zoom, pan, search, hover, colours and keys; without an error or a request."""
    # Over 40 lines: one visit to one page.
    job = report_job(tmp_path / "out", 300)
    browser.look_like()
    shown(browser, job, tmp_path / "page.html")
    assert number(browser, "points") == number(browser, "drawn") == 299  # the row without a token has no vector
    left, top, width, height = browser.box("#canvas")
    middle = left + width / 2, top + height / 2

    browser.value(f"{CANVAS}.focus()")
    for _ in range(3):
        browser.wheel(*middle, -400)
    browser.until(f"{CANVAS}.dataset.zoom > 3 && {CANVAS}.dataset.drawn < 299")
    browser.press("0")
    browser.until(f"{CANVAS}.dataset.zoom == 1 && {CANVAS}.dataset.drawn == 299")
    browser.press("+", "+")
    browser.until(f"{CANVAS}.dataset.zoom > 1.3")
    for _ in range(40):
        browser.press("ArrowLeft")
    browser.until(f"{CANVAS}.dataset.drawn == 0")
    browser.value("document.querySelector('#whole').click()")
    browser.until(f"{CANVAS}.dataset.drawn == 299")
    browser.drag(middle, (middle[0] + 5000, middle[1]))
    browser.until(f"{CANVAS}.dataset.drawn < 299")
    browser.press("0")
    browser.until(f"{CANVAS}.dataset.drawn == 299")

    browser.value("document.querySelector('#search').focus()")
    browser.type("FILE-1.txt#15")
    browser.until(f"{CANVAS}.dataset.hits == 10")
    assert browser.value("document.querySelector('#found').textContent") == "10 matches"
    assert browser.value("document.querySelectorAll('#hits button').length") == 10
    browser.value("document.querySelector('#hits button').click()")
    browser.until("document.querySelector('#point h3').textContent == 'corpus/file-1.txt#150'")
    assert browser.value("document.querySelectorAll('#point button').length") == 5
    neighbour = browser.value("document.querySelector('#point button').title")
    browser.value("document.querySelector('#point button').click()")
    browser.until(f"document.querySelector('#point h3').textContent == {json.dumps(neighbour)}")
    browser.value("document.querySelector('#search').focus()")
    browser.press("Escape")
    browser.until(f"{CANVAS}.dataset.hits == ''")

    browser.press("Escape")
    browser.value(f"{CANVAS}.focus()")
    browser.press("Escape")
    browser.until(f"{CANVAS}.dataset.shown == -1")
    for step in range(0, 400, 7):
        browser.point(middle[0] - 200 + step, middle[1])
        if browser.value(f"{CANVAS}.dataset.shown") != "-1":
            break
    assert browser.until("document.querySelector('#point h3')?.textContent").startswith("corpus/file-")

    browser.value(
        "(() => { const s = document.querySelector('#colour'); s.value = [...s.options].find("
        "o => o.textContent == 'source file').value; s.dispatchEvent(new Event('change')); })()"
    )
    assert browser.until("document.querySelectorAll('#legend button').length") == 3
    browser.value("document.querySelector('#legend button').click()")
    browser.until(f"{CANVAS}.dataset.drawn < 299")
    assert (browser.errors, browser.requests) == ([], [])


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_drawn_in_light_and_dark_on_wide_and_narrow_screens(browser, tmp_path, dark):
    """Nothing is wider than the screen, the canvas isn't blank, and the paper has the colour that the user likes."""
    job = report_job(tmp_path / "out", 200)
    for width in (1280, 400):
        browser.look_like(width, 800, dark=dark)
        shown(browser, job, tmp_path / "page.html")
        assert browser.value("document.documentElement.scrollWidth") <= width
        paper = browser.value("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 200) == dark
        colours = (
            f"(() => {{ const c = {CANVAS}, d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "const s = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 99)"
            "s.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]); return s.size; })()"
        )
        browser.until(f"{colours} > 10")
        assert len(browser.picture()) > 10_000
        assert (browser.errors, browser.requests) == ([], [])


def test_hostile_ids_texts_and_reasons_are_text(browser, tmp_path):
    """They are shown, cut where they are long, and nothing of them runs or turns what follows."""
    job = report_job(tmp_path / "out", 40, ids=hostile_id, bad=bad_rows())
    table = tmp_path / "table.jsonl"
    texts = [
        {"id": hostile_id(at), "text": HOSTILE[-1 - at % len(HOSTILE)], "topic": HOSTILE[at % 4]} for at in range(40)
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in texts))
    browser.look_like()
    shown(browser, job, tmp_path / "page.html", table=table, label_field="topic", text_field="text")
    for at in range(8):
        browser.value(f"document.querySelector('#search').value = {json.dumps(HOSTILE[at][:20])}")
        browser.value("document.querySelector('#search').dispatchEvent(new Event('input'))")
    browser.value("document.querySelector('#search').value = 'onerror'")
    browser.value("document.querySelector('#search').dispatchEvent(new Event('input'))")
    assert browser.until("document.querySelectorAll('#hits button').length") > 0
    browser.value("document.querySelector('#hits button').click()")
    browser.until("document.querySelector('#point h3') !== null")
    assert browser.value("window.hacked") is None
    assert browser.value("document.querySelectorAll('img').length") == 0
    text = browser.value("document.body.innerText")
    assert "<img src=x onerror" in text
    assert "<b>bold</b>.txt" in text
    assert "\\u202egnp.exe" in text
    assert "\u202e" not in browser.value("document.documentElement.textContent")
    assert "xxxx…" in text
    assert "x" * 1000 not in browser.value("document.documentElement.textContent")
    assert (browser.errors, browser.requests) == ([], [])


@pytest.mark.parametrize("width", [1280, 420])
def test_a_long_name_is_shown_to_its_end(browser, tmp_path, width):
    """Paths differ there; and with the number of its points, on a small screen, too."""
    job = report_job(tmp_path / "out", 60, folder="corpus/" + "long-name/" * 20)
    browser.look_like(width)
    shown(browser, job, tmp_path / "page.html")
    browser.value(
        "(() => { const s = document.querySelector('#colour'); s.value = [...s.options].find("
        "(o) => o.text == 'source file').value; s.dispatchEvent(new Event('change')); })()"
    )
    buttons = "[...document.querySelectorAll('#legend button')]"
    assert browser.until(f"{buttons}.length") == 3
    assert browser.value(f"{buttons}.every((one) => one.scrollWidth <= one.clientWidth)")
    assert browser.value(f"{buttons}.every((one) => /[/]file-[012].txt (19|20)$/.test(one.textContent))")
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_numbers_can_be_read_without_a_script_and_on_paper(browser, tmp_path):
    """The figures, the charts and a picture of the map are in the page itself."""
    job = report_job(tmp_path / "out", 200, bad=bad_rows())
    page = write_report(job, ReportOptions(), tmp_path / "page.html").page
    browser.look_like(scripts=False)
    browser.open(page.as_uri())
    browser.look_like(media="print")  # and scripts for the questions of this test, which the page has none of
    text = browser.value("document.body.innerText")
    for wanted in ("200", "rows in quarantine", "node-1-4711-a1b2c0", "batches of 32", "Provenance", "float32"):
        assert wanted in text
    assert browser.value("getComputedStyle(document.querySelector('.still')).display") != "none"
    assert browser.value("getComputedStyle(document.querySelector('.tools')).display") == "none"
    assert browser.value("document.querySelectorAll('.chart rect').length") > 20
    assert (browser.errors, browser.requests) == ([], [])


def test_a_live_page_follows_its_job(browser, tmp_path, monkeypatch):
    """What is published meanwhile appears without a reload, and the map keeps its place."""
    monkeypatch.setattr(live, "MAP_SECONDS", 0.5)
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.5)
    report_job(tmp_path / "done", 256)
    job = report_job(tmp_path / "out", 256, unpublished=2, ended=False)
    parts = sorted((tmp_path / "done").glob("part-*.parquet"))
    page = LivePage(lambda: Gathering(job, ReportOptions(points=1000)))
    with LiveServer(page, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.look_like()
        browser.open(f"http://127.0.0.1:{server.server_address[1]}/")
        browser.until(f"{CANVAS}?.dataset.points == 127")
        assert "2 of 4 shards are published" in browser.value("document.querySelector('#heading').textContent")
        browser.value("document.querySelector('#nearer').click()")
        browser.until(f"{CANVAS}.dataset.zoom > 1")
        for part in parts[2:]:
            (tmp_path / "out" / part.name).write_bytes(part.read_bytes())
        browser.until("document.querySelector('#heading').textContent.includes('4 of 4 shards')")
        browser.until(f"{CANVAS}.dataset.points == 255")
        assert number(browser, "zoom") > 1
        assert set(browser.requests) <= {f"http://127.0.0.1:{server.server_address[1]}/"}
        assert browser.errors == []
        server.shutdown()
    browser.until("document.querySelector('#live').textContent == 'no answer'")


def test_a_page_that_fails_is_an_answer_too(tmp_path):
    """Also for a reason that isn't foreseen."""
    page = LivePage(lambda: Gathering(report_job(tmp_path / "out", 20), ReportOptions()))
    page._gathering = None
    with LiveServer(page, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(urllib.error.HTTPError, match="500") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/", timeout=60)
        assert b"The report can't be made (AttributeError: " in caught.value.read()
        server.shutdown()


def test_the_live_server_answers_no_one_else(tmp_path):
    """Another site's name in the Host header, another path and another method get nothing."""
    job = report_job(tmp_path / "out", 100)
    with LiveServer(LivePage(lambda: Gathering(job, ReportOptions(points=50))), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_address[1]}"

        def status(path="/", host=None, method="GET", **headers):
            headers = headers | ({"Host": host} if host else {})
            request = urllib.request.Request(place + path, headers=headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, dict(answer.headers), answer.read()
            except urllib.error.HTTPError as error:
                return error.code, dict(error.headers), error.read()

        found, headers, content = status()
        assert (found, content[:15]) == (200, b"<!DOCTYPE html>")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert status(**{"If-None-Match": headers["ETag"]})[0] == 304
        assert status(method="HEAD")[2] == b""
        for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
            assert status(host=host)[0] == 200
        for host in ("evil.example", "evil.example:8710", "localhost.evil.example", "127.0.0.1.evil.example", "a b"):
            found, _, content = status(host=host)
            assert (found, b"another machine" in content) == (403, True)
        assert status("/etc/passwd")[0] == status("//x")[0] == status("/../job.json")[0] == 404
        assert status(method="POST")[0] == 501
        server.shutdown()
