"""Shows how far something is, on standard error: a bar on a terminal, lines elsewhere."""

# Over 150 lines: one class, half of it the description of what it shows.

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from producer.terminal.lines import tell, warn
from producer.terminal.speed import Counted, Speed
from producer.terminal.text import duration, figure, figure_of
from unrolled.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

PLAIN_EVERY_SECONDS = 5.0
#: A line that says what the last one said is printed after this time alone.
STILL_SECONDS = 60.0
#: The time left is shown where there are at most so many times more tokens in all than are done.
_FEW = 1000


class Progress:
    """How far something is, in phases that follow each other; shown as a bar that is redrawn, or as lines now and then.

    Args:
        what: a word for the first phase, such as "waiting".
        total_tokens: real tokens in all, None while it isn't known.
        unit: what is counted, if it isn't tokens.
        transient: leave nothing on the screen but the lines that were said.
        console: a terminal to draw on; None for standard error, which gets lines where it isn't a terminal.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        what: str,
        total_tokens: int | None = None,
        *,
        unit: str = "tokens",
        transient: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.console import Console as RichConsole  # noqa: PLC0415 - many commands show no progress
        from rich.progress import BarColumn, TextColumn  # noqa: PLC0415 - many commands show no progress
        from rich.progress import Progress as RichProgress  # noqa: PLC0415 - many commands show no progress

        self._clock = clock
        self._drawn = console is not None or (sys.stderr.isatty() and not json_log.is_active())
        self._transient, self._unit = transient, unit
        self._said = self._shown = ""
        self._shown_at = clock()
        self._counted = Counted(0, self._shown_at)
        self._speed = Speed()  # rich forgets that of a task whose total changes, as a guessed one does all the time
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            # Rich's own colours are alike on a terminal of 16 colours, such as a screen of tmux.
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[facts]}"),
            console=console or RichConsole(stderr=True),
            refresh_per_second=4,
            expand=True,
            transient=transient,
            get_time=clock,
            disable=not self._drawn,
        )
        self._task = self._bar.add_task(what, total=total_tokens, facts="")
        self._bar.start()

    def begin(self, what: str) -> None:
        """Begin the next phase: its tokens and its speed count from 0."""
        self._bar.reset(self._task, description=what, total=None, facts="")
        self._speed.reset()

    def step(self, what: str) -> None:
        """Begin a phase in which nothing is counted: without a bar, its name is a line, if the last line is old."""
        self.begin(what)
        if not self._drawn and self._clock() - self._shown_at >= PLAIN_EVERY_SECONDS:
            self._shown_at = self._clock()
            self.say(what)

    def update(
        self,
        *,
        done_tokens: int,
        done_rows: int | None = None,
        total_tokens: int | None = None,
        of: str = "",
        more: str | Callable[[float | None], str] = "",
        working: bool = True,
        counts: bool = True,
    ) -> None:
        """Show how far the phase is; may be called at any rate.

        Args:
            done_tokens: real tokens done; what was done before the first call doesn't count for the speed.
            done_rows: rows done, None where they aren't counted.
            total_tokens: real tokens in all, None for what was known before.
            of: what the time left belongs to, such as "in this epoch"; empty for the phase, if it is clear.
            more: a fact to add, or what makes it of the tokens per second, None where they aren't shown.
            working: whether something works on it now; else neither speed nor time left is shown.
            counts: whether the time since the last call, and the tokens in it, count for the speed: not those of an
                outage.
        """
        counted, now = self._counted.see(done_tokens, self._clock(), counts=counts)
        self._speed.see(counted, now)
        self._bar.update(self._task, completed=done_tokens, total=total_tokens)
        (task,) = self._bar.tasks
        total = None if task.total is None else int(task.total)
        is_overdue = total is not None and self._speed.is_overdue(total - done_tokens, now)
        speed = None if is_overdue or not working else self._speed.per_second(now)
        facts = facts_of(done_tokens, done_rows, total, speed, of, self._unit, self._speed.since(now))
        fact = more if isinstance(more, str) else more(speed)
        facts += f", {fact}" if fact else ""
        self._bar.update(self._task, facts=facts)
        self._shown = f"{task.description}: {facts}"
        every = PLAIN_EVERY_SECONDS if self._shown != self._said else STILL_SECONDS
        if not self._drawn and self._clock() - self._shown_at >= every:
            self._print()

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        self._say(line, tell)

    def warn(self, line: str) -> None:
        """Print a line about something that is in the way."""
        self._say(line, warn)

    def _say(self, line: str, otherwise: Callable[[str], None]) -> None:
        if self._drawn:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            otherwise(line)

    def finish(self) -> None:
        """Leave the last state, unless it is printed already, or nothing is to stay."""
        self._bar.stop()
        if not self._drawn and not self._transient and self._shown != self._said:
            self._print()

    def _print(self) -> None:
        self._said, self._shown_at = self._shown, self._clock()
        self.say(self._shown)


def facts_of(
    tokens: int,
    rows: int | None,
    total_tokens: int | None,
    tokens_per_second: float | None,
    of: str = "",
    unit: str = "tokens",
    since: float = 0.0,
) -> str:
    """How far something is, such as "1.20M of 2.40M tokens (50 %), 31.0k rows, 79.2k tokens/s, 15 s left".

    The time left is shown once 0.1 % is done: a few tokens that came first say little about the speed.

    Args:
        tokens: real tokens done.
        rows: rows done, None where they aren't counted.
        total_tokens: real tokens in all, None where it isn't known.
        tokens_per_second: the speed, None where it isn't known.
        of: what the time left belongs to; empty if it is clear.
        unit: what is counted, if it isn't tokens.
        since: tokens that are presumably done, too, but not counted yet; the time left is less by theirs.
    """
    facts = [figure_of(tokens, unit)]
    if total_tokens:
        share = min(100, 100 * tokens // total_tokens)
        facts = [f"{figure(tokens)} of {figure_of(total_tokens, unit)} ({share} %)"]
    if rows is not None:
        facts.append(figure_of(rows, "rows"))
    if tokens_per_second is not None:
        facts.append(f"{figure(tokens_per_second)} {unit}/s")
    if total_tokens and tokens_per_second and total_tokens / _FEW <= tokens < total_tokens:
        facts.append(f"{duration(max(0.0, total_tokens - tokens - since) / tokens_per_second)} left {of}".rstrip())
    return ", ".join(facts)


@contextlib.contextmanager
def progress(what: str, total_tokens: int | None = None, *, transient: bool = False) -> Iterator[Progress]:
    """Show how far something is while the block runs; see `Progress`.

    Example:
        >>> with progress("waiting") as bar:
        ...     bar.update(done_tokens=120, done_rows=3, total_tokens=480)
    """
    shown = Progress(what, total_tokens, transient=transient)
    try:
        yield shown
    finally:
        shown.finish()


@contextlib.contextmanager
def reading(what: str, total: int | None, *, unit: str = "bytes") -> Iterator[Callable[[int], None]]:
    """Show how much of some inputs is read while the block runs; it leaves nothing on the screen.

    Args:
        what: the words before the bar, such as "counting words".
        total: the number of bytes in all; None if it isn't known.
        unit: what is counted, if it isn't bytes.

    Yields:
        A function that takes the number of bytes read since its last call.
    """
    shown, read = Progress(what, total, unit=unit, transient=True), 0

    def each(count: int) -> None:
        nonlocal read
        read += count
        shown.update(done_tokens=read)

    try:
        yield each
    finally:
        shown.finish()
