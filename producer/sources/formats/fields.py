"""Values of a row: ids, texts, and token ids written as text."""

import re

from producer.sources.options import SourceOptions
from unrolled.errors import RowError

MAX_ID_BYTES = 1024

_SPACED = re.compile(r"[-0-9 \t]*").fullmatch
_INTEGER = re.compile(r"-?[0-9]{1,20}").fullmatch
#: Whole numbers as other programs write lists of them: pandas and NumPy in brackets, others with commas.
_LISTED = re.compile(r"[-0-9\s,;\[\]()]*").fullmatch
#: The beginning of the reason for such a row.
NOT_SPACED = "token ids in CSV, TSV and text are separated by spaces, as 1 2 3"
_SHOWN_CHARACTERS = 40
#: The beginning of the reason for a row without the id that it must have.
NO_ID = "has no id"
NO_STATE = " for its initial state; fields found: "


def checked_id(value: object) -> str:
    """Convert a user's id to the text that names the row.

    Raises:
        RowError: neither text nor an integer, empty, not valid Unicode, or over MAX_ID_BYTES in UTF-8.
    """
    if type(value) is int:  # not a bool
        # An integer above 2**4096 exceeds the limit below, and `str` may refuse it.
        value = str(value) if value.bit_length() <= 4 * MAX_ID_BYTES else "9" * (MAX_ID_BYTES + 1)
    if not isinstance(value, str):
        raise RowError(f"id is {_kind(value)}; allowed: text or an integer")
    if not value:
        raise RowError("id is empty; leave it out to get an automatic one")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError as error:
        raise RowError("id contains a lone surrogate, which is not valid Unicode") from error
    if size > MAX_ID_BYTES:
        raise RowError(f"id of {size} or more bytes; allowed: {MAX_ID_BYTES}")
    return value


def found_id(value: object, options: SourceOptions, none: str = "null") -> str | None:
    """A row's id, or None if it has none.

    Args:
        value: the value in the input; None if it is null, or missing where no `id_field` is named.
        options: if they name an `id_field`, the row must have an id.
        none: what the field is in the input where it has no value.

    Raises:
        RowError: the id can't be used, or is missing.
    """
    if options.id_field is not None and value in (None, ""):
        raise RowError(f"{NO_ID}: {options.id_field!r} is {none if value is None else 'empty'}")
    return None if value is None else checked_id(value)


def checked_text(value: object, field: str) -> str:
    """Check that a value is text, and return it.

    Raises:
        RowError: it is not text, or not valid Unicode.
    """
    if not isinstance(value, str):
        raise RowError(f"{field!r} is {_kind(value)}; allowed: text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"{field!r} contains a lone surrogate, which is not valid Unicode") from error
    return value


def decoded(data: bytes) -> str:
    """Decode UTF-8.

    Raises:
        RowError: it is not UTF-8; the text names the first wrong byte.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        found = data[error.start]
        raise RowError(f"not UTF-8: byte 0x{found:02x} at byte {error.start} of the row") from error


def spaced_tokens(text: str) -> list[int | str]:
    """Parse token ids separated by spaces or tabs.

    Everything that isn't an integer of at most 20 digits stays text, so that the check of the ids can name it and its
    position.

    Raises:
        RowError: the ids are a list with brackets or commas.
    """
    parts = text.split()
    if len(text) < 20 * len(parts) and _SPACED(text):
        try:
            return list(map(int, parts))
        except ValueError:  # "1-2", or too many digits
            pass
    if _LISTED(text) and any(sign in text for sign in ",;[("):
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        raise RowError(f"{NOT_SPACED}; found {shown!r}")
    return [int(part) if _INTEGER(part) else part for part in parts]


def _kind(value: object) -> str:
    """The type of a value, in the words of the input formats."""
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
