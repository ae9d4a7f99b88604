"""How far a training is, on standard error: a line for each epoch, and the tokens of the one at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from producer.terminal.text import duration, figure

if TYPE_CHECKING:
    from producer.terminal.progress import Progress

_EXACT_BELOW, _PLAIN_BELOW = 1000, 1e9


def perplexity_text(value: float) -> str:
    """A perplexity in about three digits, such as "87.3", "1,204" or "1e+30"."""
    if value >= _PLAIN_BELOW:
        return f"{value:.0e}"
    return f"{value:,.1f}" if value < _EXACT_BELOW else f"{value:,.0f}"


class FitDisplay:
    """Shows the events of `worker.training`.

    Args:
        epochs: the largest number of them.
        progress: shows the lines and the tokens.
    """

    def __init__(self, epochs: int, progress: Progress) -> None:
        self._epochs = epochs
        self._progress = progress
        self._phase = ""

    def show(self, event: str, facts: dict[str, Any]) -> None:
        """Show an event; unknown ones are left out."""
        if event == "begin":
            self._begin(facts)
        elif event == "epoch":
            self._progress.say(f"{self._epoch_line(facts)}   {duration(facts['seconds'])}")
        elif event == "step":
            self._advance(f"epoch {facts['epoch']} of {self._epochs}", facts)
        elif event == "validation":
            self._advance("held-out rows", facts)

    def _begin(self, facts: dict[str, Any]) -> None:
        self._progress.say(
            f"{figure(facts['parameters'])} parameters on {facts['device']}; held-out perplexity of word frequencies "
            f"alone: {perplexity_text(facts['unigram_perplexity'])}"
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

    def _advance(self, phase: str, facts: dict[str, Any]) -> None:
        if phase != self._phase:
            self._phase = phase
            self._progress.begin(phase)
        self._progress.update(
            done_tokens=facts["done"],
            total_tokens=facts["total"],
            more=f"perplexity {perplexity_text(facts['perplexity'])}",
        )
