"""Parts of long rows."""

import json

import pytest

from producer.plan.sampling.pieces import BYTES_BEFORE, WORD, part_of_row
from producer.sources.discovery import SourceFile
from producer.sources.options import SourceOptions

JSON_LINES = SourceFile("a.jsonl", None, "jsonl", "none")
TEXTS = ['a"b"\n\tc\\d', "\\" * 5, "\\u0041\\n", "C:\\users\\new", "Словоé", "a😀b"]


def part(line, begin, end):
    before = line[max(begin - BYTES_BEFORE, 0) : begin]
    after = line[end : end + WORD]
    return part_of_row(JSON_LINES, before, line[begin:end], after, SourceOptions(kind="text")).text


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("escaped", [True, False])
def test_parts_of_json_have_no_escapes(text, escaped):
    """Wherever a line is cut, its parts are those of the text; only a character on the cut may be missing."""
    line = json.dumps(text, ensure_ascii=escaped).encode()
    for cut in range(1, len(line)):
        left, right = part(line, 0, cut).removeprefix('"'), part(line, cut, len(line)).removesuffix('"')
        assert text.startswith(left.removesuffix('"'))
        assert text.endswith(right.removeprefix('"'))
        assert len(text) - len(left) - len(right) <= 1


@pytest.mark.parametrize("text", ["one word two  words", "Слово é слова", 'a "b" \\n c\\d "e"', " a b "])
def test_each_word_is_in_one_part(text):
    """In the one where it begins, and whole."""
    line = json.dumps(text, ensure_ascii=False).encode() + b"\n"
    for cut in range(1, len(line)):
        assert [*part(line, 0, cut).split(), *part(line, cut, len(line)).split()] == part(line, 0, len(line)).split()


def test_escapes_that_are_wrong_stay_harmless():
    """Such a line is bad, but a part of it can't show that."""
    assert part(rb"\x \u12 \ud83d \ude00 \uzzzz \/", 0, 99) == "x u12   uzzzz /"
