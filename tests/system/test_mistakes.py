"""docs/mistakes.md shows what this version says: each of its commands is run, in the order of the page."""

import re
import shlex
import subprocess
from pathlib import Path

from click.testing import CliRunner
from support.shell import make_model, unrolled, write_rows

from producer.cli.root import cli
from producer.tokenization.word_level import fit

PAGE = Path(__file__).parents[2] / "docs" / "mistakes.md"
STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
BLOCK = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: What differs from run to run, and what the page writes for it.
NAMES = {r"job [0-9a-f]{16}\b": "job KEY", r"model [0-9a-f]{12}…": "model MODEL", r"part-\S+\.parquet": "PART",
         r"\(Error [^()]*\)": "(REASON)"}  # fmt: skip
#: What the page leaves out: how to call a command, how far it is, and which engine computes where one is missing.
LEFT_OUT = re.compile(
    r"(Usage: |Try '|TensorFlow computes, |queueing: |computing: |verifying: |\d+ rows? in quarantine$)"
)


def prepare():
    """The files that the page supposes."""
    make_model(Path("model"), tokenizer_json=fit(["one two three four"], 50).tokenizer.to_str())
    write_rows(Path("rows.jsonl"), {"a": [1, 2, 3], "b": [4, 5]})
    write_rows(Path("bad.jsonl"), {"a": [1, 2, 3], "b": [4, 5], "c": [99]})
    Path("words.csv").write_text("id,text\na,one two\n")
    Path("utf16.txt").write_text("one two\n", "utf-16")
    assert unrolled("run", "rows.jsonl", "--model", "model", "--out", "out", cwd=Path.cwd()).returncode == 0


def done(command):
    """What a command prints, as the page shows it, and its exit status."""
    program, *words = shlex.split(command)
    if program != "unrolled":
        subprocess.run(command, shell=True, check=True)
        return []
    if words[0] == "run" and words[-1] in ("out", "bad"):  # it starts processes, and has signals to itself
        found = unrolled(*words, cwd=Path.cwd())
        text, status = found.stderr + found.stdout, found.returncode
    else:
        result = CliRunner().invoke(cli, words, prog_name="unrolled", env={"COLUMNS": "200"})
        text, status = result.stderr + result.stdout, result.exit_code
    for pattern, name in NAMES.items():
        text = re.sub(pattern, name, text)
    lines = [line for line in text.splitlines() if line and not LEFT_OUT.match(line)]
    return [*lines, f"(exit status {status})"]


def test_the_page_says_what_happens(tmp_path, monkeypatch):
    """Ten mistakes, each with its text and its exit status; no directory is made where nothing was started."""
    monkeypatch.chdir(tmp_path)
    prepare()
    page = PAGE.read_text("utf-8")
    assert len(re.findall(r"^## \d+\. ", page, re.MULTILINE)) == 10
    steps = [step for block in BLOCK.findall(page) for step in STEP.findall(block)]
    assert len(steps) > 15
    assert "".join(f"$ {command}\n{text}" for command, text in steps) == "".join(BLOCK.findall(page))
    for command, text in steps:
        assert done(command) == text.splitlines(), command
    assert not Path("new").exists()
