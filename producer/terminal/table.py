"""Tables for people, fitted to a terminal's width, and whole elsewhere; safe to print, whatever the cells contain."""

from __future__ import annotations

import io
import shutil
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unrolled.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Cells of a line that no table fills: a cell has at most some thousand characters.
_ANY_WIDTH = 1_000_000


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """Columns under their headings, which are bold on a terminal; the widest texts are cut until a line fits.

    Args:
        headings: one for each column.
        rows: cells, shown as `str` gives them; columns of numbers go to the right and are cut last.
        width: cells of a line; None for the terminal's width, or for lines of any length where standard output is no
            terminal.
    """
    on_terminal = sys.stdout.isatty()
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column, heading in enumerate(headings):
        numbers = bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        drawn.add_column(_cell(heading), justify="right" if numbers else "left", no_wrap=numbers)
    for row in rows:
        drawn.add_row(*map(_cell, row))
    widest = shutil.get_terminal_size().columns if on_terminal else _ANY_WIDTH
    console = Console(file=io.StringIO(), width=width or widest, force_terminal=on_terminal)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _cell(value: object) -> Text:
    return Text(printable(str(value)), no_wrap=True, overflow="ellipsis")
