"""`unrolled demo`: the whole path on text that every machine has."""

import json
import re

import pytest
from support.browser import Browser, need_browser
from support.processes import make_model
from support.shell import ENGINE, unrolled

from unrolled.reading.dataset import open_dataset

TEXTS = [f"Sentence number {number} of this small corpus says something else." for number in range(300)]


@pytest.fixture
def corpus(tmp_path):
    """Text in the file of the demo's corpus: the demo uses an existing file, as after an interruption."""
    path = tmp_path / "demo" / "docstrings.jsonl"
    path.parent.mkdir()
    lines = [json.dumps({"id": f"s{number}", "text": text}) for number, text in enumerate(TEXTS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_demo_shows_a_table_and_verifies(tmp_path, corpus):
    """Each step is printed as a command before it runs; running the demo again repeats nothing."""
    done = unrolled("demo", "demo", "--engine", ENGINE, "--epochs", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert [step.split()[2] for step in steps] == ["model", "run", "show", "report"]
    table = [line.split() for line in done.stdout.splitlines()]
    heading = table.index(["id", "length", "mask", "first", "vector", "last", "vector", "norm"])
    assert [line[:3] for line in table[heading + 1 : heading + 6]] == [
        [f"s{number}", str(len(TEXTS[number].split())), "1" * len(TEXTS[number].split())] for number in range(5)
    ]
    assert "300 rows in, 300 out" in done.stdout
    assert "<h1>" in (tmp_path / "demo" / "report.html").read_text()
    last = r"never saw it has a perplexity of [\d.]+; word frequencies alone have [\d.]+\.\n"
    assert re.search(last, done.stdout)
    assert done.stdout.splitlines()[-1] == "→ open demo/report.html in a browser"
    assert "The model is in demo/model, and the vectors" in done.stdout
    assert [path.name for path in (tmp_path / "demo").rglob("*.html")] == ["report.html"]
    dataset = open_dataset(tmp_path / "demo" / "vectors")
    assert (len(dataset), dataset.units) == (300, 128)
    assert [row.length for row in dataset] == [len(text.split()) for text in TEXTS]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*.parquet")}
    again = unrolled("demo", "demo", "--engine", ENGINE, "--epochs", 2, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "is trained already" in again.stderr
    assert again.stdout.splitlines()[-6:] == done.stdout.splitlines()[-6:]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*.parquet")} == before
    assert corpus.exists()
    open_report(tmp_path / "demo" / "report.html", tmp_path / "browser")


def open_report(page, profile):
    """A browser draws a point for each sentence, and asks for nothing."""
    browser = Browser(need_browser(), profile)
    try:
        browser.open(page.as_uri())
        browser.until("document.querySelector('#canvas')?.dataset.drawn == 300")
        assert (browser.errors, browser.requests) == ([], [])
    finally:
        browser.close()


def test_a_model_s_directory_is_refused(tmp_path):
    """Its files would lie among those of the demonstration; nothing is written."""
    make_model(tmp_path / "model")
    done = unrolled("demo", "model", cwd=tmp_path)
    assert done.returncode == 2
    assert "model: contains a model (config.json); name another directory for the demonstration" in done.stderr
    assert not (tmp_path / "model" / "docstrings.jsonl").exists()


def test_a_step_that_fails_ends_the_demo(tmp_path, corpus):
    """The demo ends with the step's error and exit status."""
    corpus.write_text("nonsense\n")
    done = unrolled("demo", corpus.parent, "--engine", ENGINE, "--epochs", 1, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert f"the text is {corpus}, which was there before\n" in done.stdout  # it may be the user's own
    assert "$ unrolled model fit" in done.stdout
    assert "$ unrolled run" not in done.stdout


def test_a_file_in_place_of_the_directory(tmp_path):
    """As for the output of a job."""
    (tmp_path / "file").touch()
    for place in ("file", "file/demo"):
        done = unrolled("demo", place, cwd=tmp_path)
        assert done.returncode == 2
        assert f"Error: {place}: {tmp_path / 'file'} is a file; name a directory" in done.stderr
