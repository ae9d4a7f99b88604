"""Tables and figures for people: fitted to a terminal, and safe to print whatever the input held."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "  "
_NARROWEST = 4
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SCALES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_EXACT_BELOW = 10_000


def printable(text: str) -> str:
    """The text on one line, with control characters, which could steer a terminal, spelled out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def figure(number: float) -> str:
    """A number to three digits: 9,999, 12.3k, 4.56M."""
    if round(number) < _EXACT_BELOW:
        return f"{round(number):,}"
    # Rounded first, so that 999,999 becomes 1.00M, not 1000k.
    number = float(f"{number:.2e}")
    scale, letter = next(pair for pair in _SCALES if number >= pair[0])
    scaled = number / scale
    return f"{scaled:.{max(0, 3 - len(str(int(scaled))))}f}{letter}"


def duration(seconds: float) -> str:
    """A time in its two largest units: 12 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> str:
    """Columns under their headings; numbers to the right, and the widest columns cut until a line fits.

    Args:
        headings: one for each column.
        rows: cells, printed with `str`.
        width: of the terminal, in cells; kept as long as every column can be 4 wide.
    """
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max([_cells(line[column]) for line in [headings, *texts]]) for column in range(len(headings))]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    right = [bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(widths))]
    return "\n".join(
        _GAP.join(_fitted(*cell) for cell in zip(line, widths, right, strict=True)).rstrip()
        for line in [list(headings), *texts]
    )


def _fitted(text: str, width: int, right: bool) -> str:
    if _cells(text) > width:
        text = _cut(text, width - 1) + "…"
    padding = " " * (width - _cells(text))
    return padding + text if right else text + padding


def _cut(text: str, width: int) -> str:
    while _cells(text) > width:
        text = text[: -max(1, (_cells(text) - width) // 2)]
    return text


def _cells(text: str) -> int:
    """How wide a terminal shows the text: East Asian characters take two cells, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
