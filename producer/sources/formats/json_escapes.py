"""Escapes in a part of a line of JSON, which may begin or end inside one."""

import re

#: An escape in a text of JSON, and the beginning of one at the end of a part, where all before it are complete.
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CUT_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
#: Characters by the letters that stand for them in escapes; each other one stands for itself.
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def unescaped(before: str, part: str) -> str:
    """A part of a line of JSON with characters instead of escapes; without an escape that one of its edges cuts.

    Args:
        before: some characters before the part; empty where the line begins with it.
        part: the part.
    """
    if cut := _CUT_ESCAPE.search(before):
        part = _ESCAPE.sub("", cut[1] + part, count=1)
    if cut := _CUT_ESCAPE.search(part):
        part = part[: cut.start(1)]
    # A character beyond U+FFFF is two escapes, which UTF-16 joins.
    return _ESCAPE.sub(_character, part).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def _character(escape: re.Match[str]) -> str:
    number, letter = escape.groups()
    return chr(int(number, 16)) if number else _ESCAPED.get(letter, letter)
