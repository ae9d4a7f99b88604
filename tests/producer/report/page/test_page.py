"""The page as bytes: small, closed, and nothing in it that a parser could mistake."""

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support.model_configs import STACKED
from support.report_jobs import report_job
from support.skips import long

from producer.plan.beside import Beside
from producer.report.gathering import Gathering
from producer.report.options import ReportOptions
from producer.report.page import map_section
from producer.report.page.page import policy, render
from producer.report.page.plan_section import plan_section
from producer.report.page.sections import _lead
from unrolled.model.padding import Padding

#: Whether a column is per token, and its width; and what the first sentence says of all of them.
LEADS = [
    ([(True, 8)], "A vector of 8 numbers for every token, from"),
    ([(False, 8)], "A vector of 8 numbers for every row, from"),
    ([(True, 8), (False, 8)], "Vectors of 8 numbers for every token and every row, from"),
    ([(True, 1024), (True, 16), (True, 16)], "Vectors of 1,024 and 16 numbers for every token, from"),
    ([], "No vector yet, from"),
]
VOID = {"meta", "link", "br", "input"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    gathering = Gathering(report_job(tmp_path_factory.mktemp("job") / "out", 300), ReportOptions())
    gathering.look()
    return render(gathering.shown())


class Tags(HTMLParser):
    """Every tag is closed in order; keeps the attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("engine", "model", "is_said"),
    [
        ("fused", STACKED, True),
        ("tensorflow", STACKED, False),  # whose batches are padded
        ("fused", replace(STACKED, padding=Padding(STACKED.max_length)), False),  # a model that computes padding
        ("fused", None, False),  # which may be such a model
    ],
)
def test_that_no_padding_was_computed_is_said_where_it_is_so(tmp_path, engine, model, is_said):
    """The sentence can be false."""
    gathering = Gathering(report_job(tmp_path / "out", 30), ReportOptions())
    gathering.look()
    shown = gathering.shown()
    facts = replace(shown.facts, job=replace(shown.facts.job, engine=engine), model=model)
    assert ("No padding was computed here." in render(replace(shown, facts=facts))) == is_said


def test_it_is_whole_and_names_no_other_address(page):
    """Every tag is closed, no attribute runs or loads anything, and no style is outside of the one that is allowed."""
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    names = {name for _, name, _ in tags.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "action", "style", "srcset")]
    assert [value for _, name, value in tags.attributes if name == "href"] == ["data:,"]
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize(("columns", "said"), LEADS)
def test_its_first_sentence_tells_what_the_job_has(tmp_path, columns, said):
    """How many numbers of what, also where layers of several widths are stored, or nothing yet."""
    gathering = Gathering(report_job(tmp_path / "out", 9), ReportOptions())
    gathering.look()
    facts = gathering.shown().facts
    poolings = {True: "none", False: "mean"}
    stored = tuple(replace(facts.columns[0], pooling=poolings[is_token], width=width) for is_token, width in columns)
    assert _lead(replace(facts, columns=stored)).startswith(said)


@pytest.mark.parametrize(("changes", "said"), [
    ({"shards": 6, "parts": 5, "dead": 1}, "5 of 6 shards are published, 1 is dead."),
    ({"shards": 6, "parts": 1, "dead": 2}, "1 of 6 shards is published, 2 are dead, 3 wait."),
    ({"shards": 1, "parts": 0}, "0 of 1 shard is published, 1 waits."),
    ({"shards": 9, "parts": 5, "state": "cancelled"}, "5 of 9 shards are published, 4 were cancelled."),
])  # fmt: skip
def test_its_first_sentence_tells_of_every_shard(tmp_path, changes, said):
    """Of those that aren't published, how many are dead, and what becomes of the others."""
    gathering = Gathering(report_job(tmp_path / "out", 9), ReportOptions())
    gathering.look()
    facts = gathering.shown().facts
    assert _lead(replace(facts, **({"state": "not complete", "dead": 0} | changes))).endswith(said)


def test_a_job_without_tokens_has_lost_no_record(tmp_path):
    """None of its tokens was computed, as there is none: that isn't 0 % of it."""
    gathering = Gathering(report_job(tmp_path / "out", 9), ReportOptions())
    gathering.look()
    facts = gathering.shown().facts
    facts = replace(
        facts, tokens_published=0, time=replace(facts.time, workers=[replace(facts.time.workers[0], tokens=0)])
    )
    assert facts.recorded_share == 1
    assert "computed it in" in _lead(facts)


def test_its_policy_allows_its_own_style_and_script_alone(page):
    """By their hashes."""
    assert page.count("<style>") == 1
    assert page.count("<script>") == 1
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        content = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in page
    assert "unsafe" not in policy(live=True)
    assert "connect-src" not in policy(live=False)
    assert policy(live=False).startswith("default-src 'none'")


def test_the_points_are_text_that_no_parser_mistakes(page):
    """Letters, digits and three signs."""
    packed = re.search('<script type="text/plain" id="map-data">(.*?)</script>', page)[1]
    assert re.fullmatch("[A-Za-z0-9+/=]+", packed)
    found = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert len(found["ids"]) == len(found["xy"]) / 2 == 299
    assert max(found["xy"]) <= 65_535
    assert {len(each["of"] if "of" in each else each["values"]) for each in found["colours"]} == {299}


@pytest.mark.parametrize(
    ("points", "most"), [(1_000, 40_000), pytest.param(20_000, None, marks=long("compares 20,000 points"))]
)
def test_many_long_texts_fit(tmp_path, monkeypatch, points, most):
    """The texts are cut until the page is small enough to be passed on."""
    if most is not None:
        monkeypatch.setattr(map_section, "MOST_BYTES", most)
    job = report_job(
        tmp_path / "out", points, units=4, rows_per_shard=4096, pooling=("mean",), ids=lambda at: f"{at * 7919:x}" * 40
    )
    gathering = Gathering(job, ReportOptions())
    gathering.look()
    shown = gathering.shown()
    assert 0.98 * points < len(shown.state_map) < points  # few rows have no token
    page = render(shown)
    assert len(page.encode()) < 2_000_000
    assert len(re.search('id="map-data">(.*?)<', page)[1]) <= (most or 2_000_000)


def test_a_plan_of_a_short_job_beside_the_fact():
    """Both times are shown with a decimal, so that they can be compared."""
    section = plan_section([Beside("seconds", 0.7, None, 0.6), Beside("seconds", 80, None, 75)])
    assert "0.7 s" in section
    assert "0.6 s" in section
    assert "80.0" not in section


def test_an_error_that_may_be_larger_says_so():
    """Of inputs that can be read from their start only, a plan knows the beginning."""
    section = plan_section([Beside("rows", 70, 5, 72, at_least=True), Beside("tokens", 70, 6, 72)])
    assert ">±5 or more<" in section
    assert ">±6<" in section


@pytest.mark.parametrize("options", [{}, {"of_tokens": True}, {"method": "none"}])
def test_one_is_no_plural(tmp_path, options):
    """A job of one row of one token; only the figures have their names before them."""
    gathering = Gathering(report_job(tmp_path / "out", 1, lengths=1, files=1), ReportOptions(**options))
    gathering.look()
    page = re.sub("<style>.*?</style>|<script.*?</script>|<dl .*?</dl>", "", render(gathering.shown()), flags=re.DOTALL)
    assert re.findall(r"\b1 (?:row|token|vector|shard|point|worker|part)s\b", page) == []
