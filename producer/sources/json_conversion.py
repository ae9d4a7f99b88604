"""How JSON that isn't one object on each line is made so: what it is, and a program of jq for it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, NamedTuple

#: Lines that are looked at, and elements of an array that is cut.
_FIRST_LINES, _FIRST_ELEMENTS = 20, 1000
#: The most fields that one row is taken to have.
_FIELDS = 20
#: The share of elements of one kind by which a longer array is judged, and what jq calls those of the kinds.
_MOST = 0.9
_KINDS = {str: "strings", list: "arrays", dict: "objects"}
_PAIR = 2


class Conversion(NamedTuple):
    """How objects are made of other JSON.

    Attributes:
        found: what it is, for people.
        program: of jq; "" where none is known.
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
    if (whole := _array(head)) is not None:
        return Conversion("is a JSON array", *_of_elements(whole))
    lines = [line for line in head.split("\n") if line.strip()][:_FIRST_LINES]
    arrays = [_array(line) for line in lines]
    if arrays[0] is not None and any(line.lstrip().startswith("[") for line in lines[1:2]):
        return Conversion("has a JSON array on each line", *_of_arrays([one for one in arrays if one is not None]))
    program, condition = _of_beginning(head)
    if "\n" not in head:  # a line that is cut: others may follow
        condition = f"if the whole file is one array{condition.replace('if', ', and', 1)}"
        return Conversion("begins with a JSON array", program, condition)
    return Conversion("is a JSON array", program, condition)


def _array(text: str) -> list[Any] | None:
    """The array that a text is; None if it isn't one, or is cut."""
    with suppress(ValueError, RecursionError):
        array = json.loads(text)
        return array if isinstance(array, list) else None
    return None


def _of_elements(array: list[Any]) -> tuple[str, str]:
    """The program for one array, and its condition."""
    known = [each for each in array if each is not None]
    if len(known) > _FIELDS:
        for kind, name in _KINDS.items():
            rows = [each for each in known if isinstance(each, kind)]
            if _MOST * len(known) < len(rows) < len(known):
                program, condition = _of_elements(rows)
                others = "if its elements of other kinds are no rows"
                return program.replace(".[]", f".[] | {name}", 1), others + condition.replace("if", ", and", 1)
    if not known or isinstance(known[0], dict):
        return ".[]", ""
    if all(map(_is_text, known)):
        return ".[] | {text: .}", ""
    if all(map(_is_id, known)):
        return "{tokens: .}", ""
    if not all(map(_is_list, known)):
        return _of_record([array]) if len(known) <= _FIELDS else ("", "")
    program, condition = _of_arrays(known)
    return program and f".[] | {program}", condition


def _of_beginning(array: str) -> tuple[str, str]:
    """The same for an array that is cut, by its first elements."""
    found: list[Any] = []
    decode, rest = json.JSONDecoder().raw_decode, array[1:].lstrip()
    with suppress(ValueError, RecursionError):
        while len(found) < _FIRST_ELEMENTS:
            element, end = decode(rest)
            found.append(element)
            rest = rest[end:].lstrip(", \t\r\n")
    if found:
        return _of_elements(found)
    if rest.startswith(('"', "{")):
        return ".[] | {text: .}" if rest.startswith('"') else ".[]", ""
    return (".[] | {tokens: .}", "") if re.fullmatch(r"\[\s*(\d+\s*,\s*)+\d*\s*", rest) else ("", "")


def _of_arrays(arrays: list[list[Any]]) -> tuple[str, str]:
    """The program for several arrays, and its condition."""
    elements = [element for array in arrays for element in array if element is not None]
    if all(isinstance(each, dict) for each in elements):  # also if there are none
        return ".[]", ""
    if all(map(_is_id, elements)):
        return "{tokens: .}", ""
    if all(map(_is_row, elements)):
        return ".[] | {tokens: .}", ""
    lengths = set(map(len, filter(None, arrays)))
    if not all(map(_is_text, elements)) or lengths == {_PAIR}:
        return _of_record([array for array in arrays if array])
    return '{text: join(" ")}', "" if lengths == {1} else "if its elements are the words of a text"


def _of_record(arrays: list[list[Any]]) -> tuple[str, str]:
    """The program for arrays of several things: the longest text may be the row's, or else a list of ids is it."""
    first = max(arrays, key=lambda array: sum(map(_is_text, array)))
    has_id = len(first) > 1 and all(_is_text(array[0]) or _is_id(array[0]) for array in arrays)
    texts, rows = ([at for at in range(has_id, len(first)) if fits(first[at])] for fits in (_is_text, _is_row))
    if not texts and not rows:  # then what may have been an id is the text
        return ("{text: .[0]}", "if .[0] is the text") if _is_text(first[0]) else ("", "")
    field = "text" if texts else "tokens"
    at = max(texts or rows, key=lambda at: len(first[at]))
    if has_id:
        return f"{{id: .[0], {field}: .[{at}]}}", f"if .[0] is an id and .[{at}] the {field}"
    return f"{{{field}: .[{at}]}}", f"if .[{at}] is the {field}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_row(value: Any) -> bool:
    return _is_list(value) and all(each is None or _is_id(each) for each in value)
