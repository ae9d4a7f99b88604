"""Numbers of things are in the right form, and names from files steer no terminal."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import producer
import unrolled
import worker
from unrolled.errors import as_argument, counted, printable


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("shard",), "0 shards"),
        (1, ("shard",), "1 shard"),
        (0.6, ("shard",), "1 shard"),
        (12_345, ("row is", "rows are"), "12,345 rows are"),
        (1, ("row is", "rows are"), "1 row is"),
    ],
)
def test_a_number_and_its_noun_agree(number: float, words: tuple[str, ...], text: str) -> None:
    """One thing is singular, any other number of them plural."""
    assert counted(number, *words) == text


def test_no_text_leaves_the_form_to_the_reader() -> None:
    """No text for people says "shard(s)"."""
    found = [
        f"{path}: {match[0]}"
        for package in (producer, unrolled, worker)
        for path in Path(package.__path__[0]).rglob("*.py")
        for match in re.finditer(r"[a-z]\(s\) .*", path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", r"a\nb"), ("\x1b[31mred", r"\x1b[31mred"), ("日本 é", "日本 é"), ("\u202eabc", r"\u202eabc")],
)
def test_what_could_steer_a_terminal_is_spelled_out(text, shown):
    """Letters of all scripts are kept."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    "path", ["a b\tc", "it's\n", "back\\slash\x07", os.fsdecode(b"\xe9.txt"), "-\x1b[0m", "\u2028end"]
)
def test_an_argument_is_printable_and_names_the_path(path):
    """What is shown with its signs spelled out can be typed as it is shown."""
    word = as_argument(path)
    assert word.isprintable()
    printed = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
    assert printed == os.fsencode(path if path[0] != "-" else f"./{path}")
    assert as_argument("a\ud800").isprintable()


def test_a_path_is_an_argument():
    """In a shell, and not for an option."""
    assert [as_argument(path) for path in ("out", "my out", Path("-out"), "./-out")] == [
        "out", "'my out'", "./-out", "./-out",
    ]  # fmt: skip
