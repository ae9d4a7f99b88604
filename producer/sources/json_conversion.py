"""How JSON that isn't one object on each line is made so: what it is, and a program of jq for it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NamedTuple

#: Lines that are looked at.
_FIRST_LINES = 20
_PAIR = 2


class Conversion(NamedTuple):
    """How objects are made of other JSON.

    Attributes:
        found: what it is, for people.
        program: of jq.
        condition: when this is right; "" if it always is.
    """

    found: str
    program: str
    condition: str = ""


def conversion_of(head: str) -> Conversion:
    """How JSON lines are made of an object or array of several lines, or of an array on each line.

    Args:
        head: the first characters, from the first bracket on; what comes later may be cut off.
    """
    if head.startswith("{"):
        return Conversion("has JSON objects of several lines each", ".")
    lines = [line for line in head.split("\n") if line.strip()][:_FIRST_LINES]
    arrays = [_array(line) for line in lines]
    if arrays[0] is not None and any(line.lstrip().startswith("[") for line in lines[1:2]):
        return Conversion("has a JSON array on each line", *_of_arrays(list(filter(None, arrays))))
    program, condition = _of_elements(head)
    if arrays[0] is None and "\n" not in head:  # a line that is cut
        return Conversion("begins with a JSON array", program, "if the whole file is one array")
    return Conversion("is a JSON array", program, condition)


def _array(line: str) -> list[Any] | None:
    """The array on a line; None if this isn't one, or is cut."""
    with suppress(ValueError, RecursionError):
        array = json.loads(line)
        return array if isinstance(array, list) else None
    return None


def _of_elements(array: str) -> tuple[str, str]:
    """The program for one array, by its first element, and its condition."""
    first, rest = None, array[1:].lstrip()
    if rest.startswith('"'):
        return ".[] | {text: .}", ""
    with suppress(ValueError, RecursionError):
        first, _ = json.JSONDecoder().raw_decode(rest)
    if _is_id(first):
        return "{tokens: .}", ""
    if not isinstance(first, list) or not first:
        return ".[]", ""
    program, condition = _of_arrays([first])
    return f".[] | {program}", condition


def _of_arrays(arrays: list[list[Any]]) -> tuple[str, str]:
    """The program for several arrays, none of them empty, and its condition."""
    elements = [element for array in arrays for element in array]
    if all(isinstance(each, dict) for each in elements):  # also if there are none
        return ".[]", ""
    if all(map(_is_id, elements)):
        return "{tokens: .}", ""
    if all(map(_is_row, elements)):
        return ".[] | {tokens: .}", ""
    lengths = {len(array) for array in arrays}
    if not all(map(_is_text, elements)) or lengths == {_PAIR}:
        return _of_record(arrays)
    return ("{text: .[0]}", "") if lengths == {1} else ('{text: join(" ")}', "if its elements are the words of a text")


def _of_record(arrays: list[list[Any]]) -> tuple[str, str]:
    """The program for arrays of several things: the longest text may be the row's, or else a list of ids is it."""
    first = arrays[0]
    has_id = len(first) > 1 and all(_is_text(array[0]) or _is_id(array[0]) for array in arrays)
    texts, rows = ([at for at in range(has_id, len(first)) if fits(first[at])] for fits in (_is_text, _is_row))
    if not texts and not rows:  # then what may have been an id is the text
        return (
            ("{text: .[0]}", "if .[0] is the text") if _is_text(first[0]) else ("{tokens: .}", "if these are token ids")
        )
    field = "text" if texts else "tokens"
    at = max(texts or rows, key=lambda at: len(first[at]))
    if has_id:
        return f"{{id: .[0], {field}: .[{at}]}}", f"if .[0] is an id and .[{at}] the {field}"
    return f"{{{field}: .[{at}]}}", f"if .[{at}] is the {field}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_id, value))
