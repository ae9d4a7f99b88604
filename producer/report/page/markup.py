"""Small pieces of HTML and SVG. Every text goes through `text`, which escapes it."""

# Over 150 lines: small pieces, each of a few lines.

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from producer.report.states.projection import PERCENT
from producer.report.states.texts import shown
from producer.terminal.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Characters of a text from outside that are shown.
_LONGEST = 300


def text(value: object, longest: int = _LONGEST) -> str:
    """Any text, escaped, on one line, and cut where it is long."""
    return escape(shown(str(value), longest))


def quoted(value: object, longest: int = _LONGEST) -> str:
    """A text from outside, which may be in any script; its direction ends with it."""
    return f"<bdi>{text(value, longest)}</bdi>"


def number(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{round(value):,}"


def share(part: float, whole: float) -> str:
    """A share in percent, with a digit after the point where it is small or odd."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f}{PERCENT}" if percent >= 99.95 or percent == round(percent) else f"{percent:.1f}{PERCENT}"  # noqa: PLR2004


def took(seconds: float) -> str:
    """A time, with more digits where it is short: 0.071 s, 7.1 s, 71 s."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)  # noqa: PLR2004


def size(count: float) -> str:
    """Bytes as people read them: 312 B, 48.3 MB, 1.20 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":  # noqa: PLR2004 - units are thousands
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"  # noqa: PLR2004
        count /= 1000
    raise AssertionError


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = (), name: str = "") -> str:
    """A table; cells are HTML already.

    Args:
        headings: one for each column, as text.
        rows: cells.
        numeric: the columns of numbers, which go to the right.
        name: the class of the table.
    """
    right = set(numeric)

    def cells(kind: str, values: Sequence[str]) -> str:
        opening = '<th scope="col"' if kind == "th" else "<td"
        names = [' class="n"' if at in right else "" for at in range(len(values))]
        return "".join(f"{opening}{name}>{value}</{kind}>" for name, value in zip(names, values, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', [text(each) for each in headings])}</tr></thead>"
    return f'<div class="scroll"><table class="{name}">{head}<tbody>{body}</tbody></table></div>'


class Mark(NamedTuple):
    """A place on an axis.

    Attributes:
        at: from 0 to 1.
        label: its text.
    """

    at: float
    label: str


class Column(NamedTuple):
    """A bar of a chart.

    Attributes:
        start, stop: from 0 to 1.
        height: from 0 to 1.
        title: shown by the pointer.
    """

    start: float
    stop: float
    height: float
    title: str


_HEIGHT, _TOP, _BOTTOM = 190, 18, 22


def columns_chart(
    columns: Sequence[Column], across: Sequence[Mark], up: Sequence[Mark], marks: Sequence[Mark], label: str
) -> str:
    """A chart of bars. It fits any width without a script, because every place across is in percent.

    Args:
        columns: the bars.
        across: labels below.
        up: gridlines, with their labels.
        marks: places that are pointed out, with their labels above.
        label: the chart as a sentence.
    """
    # Over 40 lines: one drawing, element by element.
    plot = _HEIGHT - _TOP - _BOTTOM
    base = _TOP + plot

    def y(height: float) -> str:
        return f"{base - plot * height:.1f}"

    lines = "".join(f'<line class="grid" x1="0" x2="100%" y1="{y(mark.at)}" y2="{y(mark.at)}"/>' for mark in up)
    bars = "".join(
        f'<rect class="bar" x="{100 * bar.start:.3f}%" width="{100 * (bar.stop - bar.start):.3f}%" '
        f'y="{y(bar.height)}" height="{plot * bar.height:.1f}"><title>{text(bar.title)}</title></rect>'
        for bar in columns
        if bar.height > 0
    )
    below = "".join(
        f'<text class="tick" x="{100 * mark.at:.3f}%" y="{_HEIGHT - 6}" text-anchor="{_anchor(mark.at)}">'
        f"{text(mark.label)}</text>"
        for mark in across
    )
    above = "".join(
        f'<line class="mark" x1="{100 * mark.at:.3f}%" x2="{100 * mark.at:.3f}%" y1="{_TOP - 2}" y2="{base}"/>'
        f'<text class="marked" x="{100 * mark.at:.3f}%" y="{_TOP - 6}" text-anchor="{_anchor(mark.at)}">'
        f"{text(mark.label)}</text>"
        for mark in marks
    )
    scale = "".join(
        f'<text class="tick" x="52" y="{base - plot * mark.at + 4:.1f}" text-anchor="end">{text(mark.label)}</text>'
        for mark in up
    )
    return (
        f'<div class="plot"><svg class="scale" width="56" height="{_HEIGHT}" aria-hidden="true">{scale}</svg>'
        f'<svg class="chart" width="100%" height="{_HEIGHT}" role="img" aria-label="{text(label)}">'
        f"{lines}{bars}{above}{below}</svg></div>"
    )


def _anchor(at: float) -> str:
    return "start" if at < 0.03 else "end" if at > 0.97 else "middle"  # noqa: PLR2004 - labels stay inside


def strip(parts: Sequence[tuple[str, float]], label: str) -> str:
    """A bar that is divided.

    Args:
        parts: class and share (from 0 to 1) of each part.
        label: the bar as a sentence.
    """
    pieces, at = [], 0.0
    for name, part in parts:
        pieces.append(f'<rect class="{name}" x="{100 * at:.2f}%" width="{100 * part:.2f}%" y="0" height="100%"/>')
        at += part
    return f'<svg class="strip" width="100%" height="10" role="img" aria-label="{text(label)}">{"".join(pieces)}</svg>'
