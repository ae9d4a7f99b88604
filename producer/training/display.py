"""How far a training is, on standard error: a bar and a table of epochs on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

import click

from producer.terminal.progress import PLAIN_EVERY_SECONDS, Advance, SpeedMeter
from producer.terminal.text import duration, figure

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

_EXACT_BELOW, _PLAIN_BELOW = 1000, 1e9


def perplexity_text(value: float) -> str:
    """Such as "87.3", "1,204" or "1e+30"."""
    if value >= _PLAIN_BELOW:
        return f"{value:.0e}"
    return f"{value:,.1f}" if value < _EXACT_BELOW else f"{value:,.0f}"


class FitDisplay:
    """Shows the events of `worker.training`; leave its block when they end.

    Args:
        epochs: at most.
        console: where to; standard error by default.
        bar: whether to draw one; by default on a terminal.
    """

    def __init__(self, epochs: int, console: Console | None = None, *, bar: bool | None = None) -> None:
        self._epochs = epochs
        self._meter = SpeedMeter()
        self._what = ""
        self._printed_at = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        if sys.stderr.isatty() if bar is None else bar:
            # Here: a run without a terminal needs nothing of rich, which takes 0.1 s.
            from rich.console import Console as RichConsole  # noqa: PLC0415
            from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

            columns: list[Any] = [
                TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[facts]}")
            ]  # fmt: skip
            console = console or RichConsole(stderr=True)
            self._bar = Progress(*columns, console=console, refresh_per_second=4, expand=True, transient=True)
            self._task = self._bar.add_task("starting TensorFlow", total=None, facts="")

    def __enter__(self) -> Self:
        """Begin."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar off the screen; the lines stay."""
        if self._bar:
            self._bar.stop()

    def show(self, event: str, facts: dict[str, Any]) -> None:
        """Show an event."""
        if event == "begin":
            self._begin(facts)
        elif event == "epoch":
            self._say(self._epoch_line(facts) + f"   {duration(facts['seconds'])}")
        elif event in ("step", "validation"):
            self._advance(event, facts)

    def _begin(self, facts: dict[str, Any]) -> None:
        self._say(
            f"{figure(facts['parameters'])} parameters on {facts['device']}; frequencies alone give the rows held out "
            f"a perplexity of {perplexity_text(facts['unigram_perplexity'])}"
        )
        for epoch in facts["epochs"]:
            self._say(self._epoch_line(epoch) + "   done before")
        if facts["resumed"]:
            self._say(
                f"going on in epoch {facts['epoch']}" if facts["epoch"] <= self._epochs else "all epochs are done"
            )

    def _epoch_line(self, facts: dict[str, Any]) -> str:
        learnt, held_out = (perplexity_text(facts[f"{side}_perplexity"]) for side in ("train", "validation"))
        mark = {True: " (best)", False: ""}.get(facts.get("best", ""), "")
        return (
            f"epoch {facts['epoch']:>2} of {self._epochs}: perplexity {learnt} in training, {held_out} held out{mark}"
        )

    def _advance(self, event: str, facts: dict[str, Any]) -> None:
        what = f"epoch {facts['epoch']} of {self._epochs}" if event == "step" else "held-out rows"
        if what != self._what:
            self._what, self._meter = what, SpeedMeter()
        speed = self._meter.add(time.monotonic(), facts["done"])
        shown = (
            f"{Advance(facts['done'], None, facts['total'], speed)}, perplexity {perplexity_text(facts['perplexity'])}"
        )
        if self._bar:
            self._bar.update(self._task, description=what, completed=facts["done"], total=facts["total"], facts=shown)
        elif time.monotonic() - self._printed_at >= PLAIN_EVERY_SECONDS:
            self._say(f"{what}: {shown}")

    def _say(self, line: str) -> None:
        self._printed_at = time.monotonic()
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)
