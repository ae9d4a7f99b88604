"""JSON lines: one object on each line."""

import json
from typing import NoReturn

from producer.sources.formats.fields import NO_ID, NO_STATE, checked_text, decoded, found_id
from producer.sources.formats.lines import ParseLine
from producer.sources.options import SourceOptions
from producer.sources.rows import BadRow, SourceRow
from unrolled.errors import RowError

#: Lines that show whether an input is JSON.
_LINES = 3
#: What JSON calls the values that Python makes of it.
_IN_JSON = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def _object_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # Programs disagree about which of two equal keys to use.
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        raise RowError(f"not usable JSON: the key {twice[:80]!r} appears twice in one object")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise RowError(f"not JSON: {name}")


_decode = json.JSONDecoder(object_pairs_hook=_object_once, parse_constant=_no_constant).decode


def json_object(line: bytes) -> dict[str, object]:
    """Parse one line.

    Raises:
        RowError: the line is not UTF-8, not JSON (NaN and Infinity are not JSON), has a key twice, is nested too
            deeply, has an integer of thousands of digits, or is not an object.
    """
    text = decoded(line)
    try:
        found = _decode(text)
    except json.JSONDecodeError as error:
        detail = f"{error.msg.removesuffix(' at')} at character {error.pos}" if text.strip() else "the line is blank"
        raise RowError(f"not JSON: {detail}") from error
    except RecursionError as error:
        raise RowError("not usable JSON: nested too deeply") from error
    except ValueError as error:
        raise RowError("not usable JSON: an integer has too many digits") from error
    if not isinstance(found, dict):
        raise RowError(f"is {_IN_JSON.get(type(found), 'a null')} of JSON; allowed: an object")
    return found


def looks_like_json(head: bytes) -> bool:
    """Whether the first lines of an input are JSON objects.

    Args:
        head: its first bytes; the last line may be cut off.
    """
    *ended, rest = head.split(b"\n", _LINES)
    try:
        return head.startswith(b"{") and all(isinstance(json_object(line), dict) for line in ended or [rest])
    except RowError:
        return False


def json_parser(file: str, options: SourceOptions) -> ParseLine:
    """A function that makes a row from a line."""
    text_field, numbers_field = options.text_field, options.numbers_field

    def parse(line: bytes, position: int) -> SourceRow | BadRow:
        id: str | None = None  # noqa: A001 - the field's name
        try:
            fields = json_object(line)
            id = _id(fields, options)  # noqa: A001 - the field's name
            field = row_field(fields, options)
            state = _state(fields, options)
            if field == numbers_field:
                return SourceRow(file, position, id, None, fields[field], state)
            return SourceRow(file, position, id, checked_text(fields[text_field], text_field), None, state)
        except RowError as error:
            return BadRow(file, position, id, str(error))

    return parse


def _id(fields: dict[str, object], options: SourceOptions) -> str | None:
    """The id of a row, if it has one.

    Raises:
        RowError: the id can't be used, or is missing.
    """
    if not options.reads_ids:
        return None
    if options.id_field is not None and options.id_field not in fields:
        raise RowError(f"{NO_ID}: {options.id_field!r} is missing; fields found: {_listed(fields)}")
    return found_id(fields.get(options.id_column), options)


def _state(fields: dict[str, object], options: SourceOptions) -> object:
    """The initial states of a row, if they are read.

    Raises:
        RowError: the row has none.
    """
    name = options.initial_state_field
    if name is None:
        return None
    if name not in fields:
        raise RowError(f"has no {name!r}{NO_STATE}{_listed(fields)}")
    return fields[name]


def row_field(fields: dict[str, object], options: SourceOptions) -> str:
    """The name of the field with the row's content; a null is missing if the other field exists.

    Raises:
        RowError: neither field exists, or both do.
    """
    text, tokens = options.text_field, options.tokens_field
    wanted = options.content_fields
    if len(wanted) == 1:
        if wanted[0] in fields:
            return wanted[0]
        raise RowError(f"has no {wanted[0]!r}; fields found: {_listed(fields)}")
    present = [name for name in wanted if fields.get(name) is not None]
    if len(present) == 1:
        return present[0]
    if present:
        raise RowError(f"has both {text!r} and {tokens!r}; choose one (--kind)")
    null = next((name for name in wanted if name in fields), None)
    if null is not None:
        return null
    found = _listed(fields) + options.about_vectors(fields)
    raise RowError(f"has neither {text!r} nor {tokens!r}; fields found: {found}")


def _listed(fields: dict[str, object]) -> str:
    """Up to eight of the names."""
    shown = [repr(name[:40]) for name in list(fields)[:8]]
    return ", ".join(shown) + (", …" if len(fields) > len(shown) else "") if shown else "none"
