"""The section of a page with the training of the job's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.report.page.markup import Column, Mark, columns_chart, text
from producer.training.display import perplexity_text
from unrolled.errors import counted

if TYPE_CHECKING:
    from producer.report.training import Training

#: What the height of the chart stands for, over its highest bar; and the share of a bar's place that it takes.
_ABOVE, _WIDE = 1.04, 0.9


def training_section(found: Training | None) -> str:
    """The held-out perplexity after each epoch; empty if it isn't known."""
    if found is None:
        return ""
    count, top = len(found.held_out), max(found.held_out) * _ABOVE
    pairs = zip(found.learned, found.held_out, strict=True)
    columns = [
        Column(
            at / count,
            (at + _WIDE) / count,
            held_out / top,
            f"epoch {at + 1}: perplexity {perplexity_text(held_out)} held out, {perplexity_text(learned)} in training",
        )
        for at, (learned, held_out) in enumerate(pairs)
    ]
    first, best = (perplexity_text(found.held_out[epoch - 1]) for epoch in (1, found.best_epoch))
    up = [Mark(share / _ABOVE, perplexity_text(share * top / _ABOVE)) for share in (0.5, 1.0)]
    marks = [Mark((found.best_epoch - 1 + _WIDE / 2) / count, best)]
    across = [Mark(_WIDE / 2 / count, "1")] + ([Mark((count - 1 + _WIDE / 2) / count, str(count))] if count > 1 else [])
    label = f"Held-out perplexity after each of {counted(count, 'epoch')}: {first} after the first, {best} at best."
    about = "Perplexity of held-out rows after each epoch of the model's training; less is better."
    alone = perplexity_text(found.frequencies)
    caption = f"The model has the weights of epoch {found.best_epoch:,}. Word frequencies alone have {alone}."
    return (
        f"<section><header><h2>Training</h2><p>{text(about)}</p></header>"
        f'<div>{columns_chart(columns, across, up, marks, label)}<p class="caption">{text(caption)}</p></div></section>'
    )
