"""How far a training is, on standard error: a line for each epoch, and the tokens of the one at work."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from producer.terminal.text import duration, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producer.terminal.progress import Progress

_EXACT_BELOW, _PLAIN_BELOW = 1000, 1e9
#: How long a training must have run before anything is said of its end.
_LEFT_AFTER_SECONDS = 5.0
_BARS = "▁▂▃▄▅▆▇█"


def perplexity_text(value: float) -> str:
    """A perplexity in about three digits, such as "87.3", "1,204" or "1e+30"."""
    if value >= _PLAIN_BELOW:
        return f"{value:.0e}"
    return f"{value:,.1f}" if value < _EXACT_BELOW else f"{value:,.0f}"


def curve(values: Sequence[float]) -> str:
    """Some perplexities as a row of bars, on a logarithmic scale from the lowest to the highest."""
    logs = [math.log(min(max(value, 1.0), _PLAIN_BELOW)) for value in values]
    low, high = min(logs), max(logs)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in logs)


class FitDisplay:
    """Shows the events of `worker.training`.

    Args:
        epochs: the largest number of them.
        progress: shows the lines and the tokens.
        clock: seconds, never going back.
    """

    def __init__(self, epochs: int, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs = epochs
        self._progress = progress
        self._phase = ""
        self._clock = clock
        self._began: tuple[float, int] | None = None  # when the first step was shown, and the tokens done by then

    def show(self, event: str, facts: dict[str, Any]) -> None:
        """Show an event; unknown ones are left out."""
        if event == "begin":
            self._begin(facts)
        elif event == "epoch":
            self._progress.say(f"{self._epoch_line(facts)}   {duration(facts['seconds'])}")
        elif event == "step":
            self._advance(f"epoch {facts['epoch']} of {self._epochs}", facts, self._pace(facts))
        elif event == "validation":
            self._advance("held-out rows", facts)

    def _begin(self, facts: dict[str, Any]) -> None:
        self._progress.say(
            f"{figure(facts['parameters'])} parameters, with the softmax, on {facts['device']}; held-out perplexity of "
            f"word frequencies alone: {perplexity_text(facts['unigram_perplexity'])}"
        )
        for epoch in facts["epochs"]:
            self._progress.say(f"{self._epoch_line(epoch)}   done before")
        if facts["resumed"]:
            more = facts["epoch"] <= self._epochs
            self._progress.say(f"resuming in epoch {facts['epoch']}" if more else "all epochs are done")

    def _epoch_line(self, facts: dict[str, Any]) -> str:
        learnt, held_out = (perplexity_text(facts[f"{side}_perplexity"]) for side in ("train", "validation"))
        best = " (best)" if facts.get("best") else ""
        return (
            f"epoch {facts['epoch']:>2} of {self._epochs}: perplexity {learnt} in training, {held_out} held out{best}"
        )

    def _pace(self, facts: dict[str, Any]) -> float | None:
        """Seconds a token since the first step; None too early, and in the last epoch, whose own time is shown."""
        now, done = self._clock(), (facts["epoch"] - 1) * facts["total"] + facts["done"]
        if self._began is None:
            self._began = now, done
        seconds, tokens = now - self._began[0], done - self._began[1]
        if tokens <= 0 or seconds < _LEFT_AFTER_SECONDS or facts["epoch"] == self._epochs:
            return None
        return float(seconds / tokens)

    def _advance(self, phase: str, facts: dict[str, Any], pace: float | None = None) -> None:
        def facts_at(speed: float | None) -> str:
            found = f"perplexity {perplexity_text(facts['perplexity'])}"
            if pace is None:
                return found
            left = (self._epochs + 1 - facts["epoch"]) * facts["total"] - facts["done"]
            # If the machine is slower now than it was, it may stay so.
            return f"{found}, about {duration(left * max(pace, 1 / (speed or math.inf)))} left in all"

        if phase != self._phase:
            self._phase = phase
            self._progress.begin(phase)
        self._progress.update(
            done_tokens=facts["done"],
            total_tokens=facts["total"],
            of="" if pace is None else "in this epoch",
            more=facts_at,
        )
