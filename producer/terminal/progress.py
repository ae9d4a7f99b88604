"""Telling a person how far something is, on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from producer.terminal.text import duration, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

#: How far back a speed looks.
WINDOW_SECONDS = 30.0
#: Samples closer together than this are one.
_SAMPLE_SECONDS = 0.5
PLAIN_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Advance:
    """How far something is.

    Attributes:
        tokens: real tokens done.
        rows: rows done, None where they aren't counted.
        total_tokens: of all that is known, None where nothing is.
        tokens_per_second: lately; None at the beginning.
    """

    tokens: int = 0
    rows: int | None = None
    total_tokens: int | None = None
    tokens_per_second: float | None = None

    def __str__(self) -> str:
        """Such as "1.20M of 2.40M tokens (50 %), 31.0k rows, 79.2k tokens/s, 15 s left"."""
        facts = [f"{figure(self.tokens)} tokens"]
        if self.total_tokens:
            share = min(100, 100 * self.tokens // self.total_tokens)
            facts = [f"{figure(self.tokens)} of {figure(self.total_tokens)} tokens ({share} %)"]
        if self.rows is not None:
            facts.append(f"{figure(self.rows)} rows")
        if self.tokens_per_second is not None:
            facts.append(f"{figure(self.tokens_per_second)} tokens/s")
        if self.total_tokens and self.tokens_per_second and self.tokens < self.total_tokens:
            facts.append(f"{duration((self.total_tokens - self.tokens) / self.tokens_per_second)} left")
        return ", ".join(facts)


class SpeedMeter:
    """Tokens per second over the last `WINDOW_SECONDS`; what was done before doesn't count."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, tokens: int) -> float | None:
        """Take a sample; the speed with it, None until two samples lie a second apart.

        Args:
            now: seconds on any clock that never goes back.
            tokens: done since whenever; never less than before.
        """
        samples = self._samples
        first_at, first_tokens = samples[0] if samples else (now, tokens)
        if not samples or now - samples[-1][0] >= _SAMPLE_SECONDS:
            samples.append((now, tokens))
        while len(samples) > 2 and now - samples[1][0] >= WINDOW_SECONDS:  # noqa: PLR2004 - the two ends of a span
            samples.popleft()
        seconds = now - first_at
        return (tokens - first_tokens) / seconds if seconds >= 1 else None


class Progress:
    """Shows how far something is, as lines now and then; `BarProgress` shows it as a bar.

    Args:
        what: a word for what is going on, such as "waiting".
        total_tokens: real tokens in all, None while nobody knows.
        clock: seconds, never going back.
    """

    def __init__(self, what: str, total_tokens: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._meter = SpeedMeter()
        self._advance = Advance(total_tokens=total_tokens)
        self._shown = self._advance
        self._shown_at = clock()

    def update(self, *, done_tokens: int, done_rows: int | None = None, total_tokens: int | None = None) -> None:
        """Say how far it is; call it as often as you like."""
        total = self._advance.total_tokens if total_tokens is None else total_tokens
        speed = self._meter.add(self._clock(), done_tokens)
        self._advance = Advance(done_tokens, done_rows, total, speed)
        self._show()

    def say(self, line: str) -> None:
        """Print a line, beside whatever is shown."""
        click.echo(line, err=True)

    def finish(self) -> None:
        """Show the last state, unless it has been."""
        if self._advance != self._shown:
            self._print()

    def _show(self) -> None:
        if self._clock() - self._shown_at >= PLAIN_EVERY_SECONDS:
            self._print()

    def _print(self) -> None:
        self._shown, self._shown_at = self._advance, self._clock()
        self.say(f"{self._what}: {self._advance}")


class BarProgress(Progress):
    """Shows it as a bar that is redrawn in place.

    Args:
        what: as in `Progress`.
        total_tokens: as in `Progress`.
        console: where to; standard error by default.
    """

    def __init__(self, what: str, total_tokens: int | None = None, console: Console | None = None) -> None:
        super().__init__(what, total_tokens)
        # Here: a run without a terminal needs nothing of rich, which takes 0.1 s.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
        from rich.progress import Progress as RichProgress  # noqa: PLC0415

        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[facts]}"),
        ]
        self._bar = RichProgress(*columns, console=console or Console(stderr=True), refresh_per_second=4, expand=True)
        self._task = self._bar.add_task(what, total=total_tokens, facts="")
        self._bar.start()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, markup=False, highlight=False)

    def finish(self) -> None:
        """Leave the last state on the screen."""
        self._bar.stop()

    def _show(self) -> None:
        advance = self._advance
        self._bar.update(self._task, completed=advance.tokens, total=advance.total_tokens, facts=str(advance))


@contextlib.contextmanager
def progress(what: str, total_tokens: int | None = None) -> Iterator[Progress]:
    """Show how far something is while the block runs: a bar where standard error is a terminal, else lines.

    Example:
        >>> with progress("waiting") as bar:
        ...     bar.update(done_tokens=120, done_rows=3, total_tokens=480)
    """
    shown = BarProgress(what, total_tokens) if sys.stderr.isatty() else Progress(what, total_tokens)
    try:
        yield shown
    finally:
        shown.finish()
