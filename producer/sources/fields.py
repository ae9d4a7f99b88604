"""Single values of a row: ids, texts, and token ids written as text."""

import re

from producer.sources.options import SourceOptions
from unrolled.errors import RowError

MAX_ID_BYTES = 1024

_SPACED = re.compile(r"[-0-9 \t]*").fullmatch
_INTEGER = re.compile(r"-?[0-9]{1,20}").fullmatch


def checked_id(value: object) -> str:
    """Turn a user's id into the text that names the row.

    Raises:
        RowError: neither text nor an integer, empty, not valid Unicode, or over MAX_ID_BYTES in UTF-8.
    """
    if type(value) is int:  # a bool is no id
        # Above 2**4096 it is over the limit below, and `str` may refuse it.
        value = str(value) if value.bit_length() <= 4 * MAX_ID_BYTES else "9" * (MAX_ID_BYTES + 1)
    if not isinstance(value, str):
        raise RowError(f"id is {_kind(value)}; allowed: text or an integer")
    if not value:
        raise RowError("id is empty; leave it out to get an automatic one")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError as error:
        raise RowError("id holds a lone surrogate, which is not valid Unicode") from error
    if size > MAX_ID_BYTES:
        raise RowError(f"id of {size} or more bytes; allowed: {MAX_ID_BYTES}")
    return value


def found_id(value: object, options: SourceOptions) -> str | None:
    """Give a row's id, None where it has none of its own.

    Args:
        value: as it was found, None where it is null or missing.
        options: an `id_field` that was named must be there.

    Raises:
        RowError: it can't be used.
    """
    if value is not None:
        return checked_id(value)
    if options.id_field is not None:
        raise RowError(f"has no id: {options.id_field!r} is missing or null")
    return None


def checked_text(value: object, field: str) -> str:
    """Give the text back.

    Raises:
        RowError: it is no text, or not valid Unicode.
    """
    if not isinstance(value, str):
        raise RowError(f"{field!r} is {_kind(value)}; allowed: text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"{field!r} holds a lone surrogate, which is not valid Unicode") from error
    return value


def decoded(data: bytes) -> str:
    """Decode UTF-8.

    Raises:
        RowError: with the place of the first wrong byte.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        found = data[error.start]
        raise RowError(f"not UTF-8: byte 0x{found:02x} at byte {error.start} of the row") from error


def spaced_tokens(text: str) -> list[int | str]:
    """Read token ids separated by spaces or tabs.

    What is no integer of up to 20 digits stays text, so that the check of the ids can name it and its place.
    """
    parts = text.split()
    if len(text) < 20 * len(parts) and _SPACED(text):
        try:
            return list(map(int, parts))
        except ValueError:  # "1-2", or digits without end
            pass
    return [int(part) if _INTEGER(part) else part for part in parts]


def _kind(value: object) -> str:
    """Name a value's type in the words of the input formats."""
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"of type {type(value).__name__}")
