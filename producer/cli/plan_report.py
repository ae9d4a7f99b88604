"""A plan as text for people."""

# Over 150 lines: one text, a few lines for each part of a plan.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from producer.plan.sampling.estimate import SMALL_SHARE
from producer.terminal.text import duration, figure, lines_of_unknown, percent
from unrolled.errors import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.plan.plan import Choice, Input, Plan
    from producer.plan.sampling.estimate import Estimate

#: Inputs that are named, of those that can't be read.
_NAMED = 3
#: An error of the time below this share isn't shown: the measured speed may be off by as much (`benchmarks/plan.py`).
_SPEED_SHARE = 0.15
#: One row: if it is in several pieces of the input, its shares there add up to 1 only about.
_ONE_ROW = 0.999
#: The units of bytes, each a thousand times the one before.
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_POOLINGS = {"none": "every token", "mean": "one vector a row"}


def size_text(size_bytes: float) -> str:
    """A number of bytes to three digits: 512 B, 1.5 MB, 2.34 GB."""
    rounded = float(f"{size_bytes:.3g}")
    power = min(len(_UNITS) - 1, int(math.log10(rounded)) // 3) if rounded >= 1 else 0
    return f"{rounded / 1000**power:.3g} {_UNITS[power]}"


def report(plan: Plan) -> str:
    """The plan as text."""
    lines = [*_input_lines(plan.input), "", *_row_lines(plan), "", *_size_lines(plan)]
    lines += ["", *_time_lines(plan)]
    if plan.worker_bytes is not None:
        lines.append(f"memory    {size_text(plan.worker_bytes)} for each worker")
    lines += [f"→ {printable(line)}" for line in _advice(plan)]
    return "\n".join(lines)


def with_error(estimate: Estimate, text: str, *, at_least: bool = False) -> str:
    """An estimate's text, with how far it may be off; `at_least` so far, where only a beginning was read."""
    if estimate.error is None:
        return f"{text} ± unknown"
    if not estimate.value or estimate.error <= SMALL_SHARE * estimate.value:
        return text
    share = 100 * estimate.error / estimate.value
    return f"{text} ±{share:.{0 if share >= 1 else 1}f} %{' or more' if at_least else ''}"


def _input_lines(found: Input) -> Iterator[str]:
    share = found.read_bytes / found.size_bytes if found.size_bytes else 1.0
    read = "all of it was read" if found.exact else f"{size_text(found.read_bytes)} ({percent(share)}) were read"
    yield f"input     {counted(found.files, 'input')}, {size_text(found.size_bytes)}; {read}"


def _row_lines(plan: Plan) -> Iterator[str]:
    rows = plan.rows

    def about(estimate: Estimate) -> str:
        return with_error(estimate, figure(estimate.value), at_least=_is_begun(plan))

    yield f"rows      {about(rows.rows)}"
    yield f"tokens    {about(rows.tokens)}"
    lengths = rows.lengths
    if rows.rows.value >= 2 * _ONE_ROW:  # one length needs no line
        yield (
            f"lengths   {lengths['mean']:.1f} tokens on average; half of the rows up to {figure(lengths['median'])}, "
            f"99 % up to {figure(lengths['p99'])}, the longest seen {'about ' * rows.in_part}"
            f"{figure(lengths['longest'])}"
        )
    if rows.computed_share < 1:
        share = percent(rows.computed_share)
        yield f"sharing   {share} of the tokens are computed; the others are in beginnings that rows share"
    if rows.longer.value >= _ONE_ROW:
        yield (
            f"longer    {about(rows.longer)} {_rows_have(rows.longer)} more than {plan.max_length:,} tokens "
            "(max_length of the model); they are computed whole"
        )
    if rows.empty.value >= _ONE_ROW:
        yield f"empty     {about(rows.empty)} {_rows_have(rows.empty)} no token, and so no state"
    if rows.padding_share:
        yield f"padding   {percent(rows.padding_share)} of the ids are padding (0, or masked), and have no vector"
    if rows.quarantined.value >= _ONE_ROW:
        go = "row goes" if round(rows.quarantined.value) == 1 else "rows go"
        yield f"unusable  {about(rows.quarantined)} {go} to quarantine, for example:"
        yield from (f"            {printable(reason)}" for reason in rows.reasons)
    for number, line in enumerate(lines_of_unknown(rows.unknown_share, rows.unknown_noun)):
        if number:
            yield f"          {line}"
        else:
            guess = "about " if line[0].isdigit() else ""  # and not "about less than 0.01 %"
            yield f"unknown   {line if plan.input.exact else f'{guess}{line}; {rows.words_read:,} were read'}"


def _is_begun(plan: Plan) -> bool:
    """Whether only the beginning of some inputs was read, so that errors may be larger."""
    return bool(plan.input.from_the_start)


def _rows_have(count: Estimate) -> str:
    return "row has" if round(count.value) == 1 else "rows have"


def _size_lines(plan: Plan) -> Iterator[str]:
    size = with_error(plan.chosen.size, size_text(plan.chosen.size.value), at_least=_is_begun(plan))
    # No row is cut, so where shards are small there are some more than tokens alone would give.
    parts = "1 part" if plan.parts == 1 else f"about {plan.parts:,} parts"
    yield f"store     {size} in {parts}"
    by_row: dict[tuple[str, str], list[Choice]] = {}
    for choice in plan.choices:
        by_row.setdefault((choice.layers, choice.pooling), []).append(choice)
    precisions = [choice.precision for choice in next(iter(by_row.values()))]
    cells = [["layers", "pooling", *precisions]]
    for (layers, pooling), choices in by_row.items():
        sizes = [f"{'*' if choice.chosen else ''}{size_text(choice.size.value)}" for choice in choices]
        label = _POOLINGS.get(pooling, pooling) if pooling != "none" or plan.positions == "all" else plan.positions
        cells.append([layers, label, *sizes])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True))
        right = "  ".join(cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True))
        yield f"          {left}  {right}"
    yield "          * what the options of this command store"


def _time_lines(plan: Plan) -> Iterator[str]:
    if plan.times is None:
        yield f"time      not known: {plan.no_times or 'not measured'}"
        return
    times, error, seconds = plan.times, plan.times.total.error, plan.times.total.value
    whose = "by `unrolled run` on this machine" if times.workers == 1 else f"by {times.workers} machines like this one"
    is_small = error is not None and error < _SPEED_SHARE * seconds
    is_begun = error is None and _is_begun(plan)
    took = f"about {duration(seconds)}" if is_small else with_error(times.total, duration(seconds), at_least=is_begun)
    yield f"time      {took} {whose}"
    if times.limit == "queueing":
        yield f"          reading and tokenizing takes {duration(times.queueing)}: more workers don't make it faster"
    yield f"          {figure(times.tokens_per_second)} tokens/s by one worker; {printable(times.engine)}"


def _advice(plan: Plan) -> Iterator[str]:
    found = plan.input
    if found.unreadable:
        named = "; ".join(f"{label}: {reason}" for label, reason in list(found.unreadable.items())[:_NAMED])
        more = len(found.unreadable) - _NAMED
        yield (
            f"{counted(len(found.unreadable), 'input')} can't be read to the end, so no job of these inputs can be "
            f"finished: {named}"
            f"{f'; and {more:,} more' if more > 0 else ''}"
        )
    if found.unchecked:
        unchecked = counted(found.unchecked, "input was", "inputs were")
        yield f"{unchecked} not looked at, for lack of time; `unrolled enqueue` looks at all"
    if found.not_sampled:
        yield (
            f"{counted(len(found.not_sampled), 'compressed table')} of more than 64 MiB "
            f"{'is' if len(found.not_sampled) == 1 else 'are'} left out of all figures, as {found.not_sampled[0]}"
        )
    if plan.rows.partly_read.value:
        rows = counted(max(1, round(plan.rows.partly_read.value)), "row has", "rows have")
        yield (
            f"{rows} more than 256 KiB, of which the plan reads parts: how long such a row is, and whether it can be "
            "used, is estimated, and the errors above don't cover it"
        )
    if _is_begun(plan):
        yield (
            f"{size_text(found.from_the_start)} can be read from their start only (compressed files, Arrow files, "
            "tables with line ends in fields, large row groups): if later rows are of another kind, the error is larger"
        )
    yield from found.notices
