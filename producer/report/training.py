"""The perplexities of a model's training, as its training.json records them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.training.plan import RECORD_FILE

if TYPE_CHECKING:
    from pathlib import Path

#: Epochs that are read, and bytes of the file; a record has about 100 bytes for each epoch.
MOST_EPOCHS, MOST_BYTES = 1000, 2**20


@dataclass(frozen=True, slots=True)
class Training:
    """How a model learned.

    Attributes:
        learned: perplexity of the rows to learn from, with dropout, in each epoch.
        held_out: perplexity of the held-out rows after each epoch.
        best_epoch: number of the epoch whose weights the model has, from 1.
        frequencies: held-out perplexity of the words' frequencies alone.
    """

    learned: tuple[float, ...]
    held_out: tuple[float, ...]
    best_epoch: int
    frequencies: float


def read_training(model: Path, fingerprint: str) -> Training | None:
    """The training of a model; None if `unrolled model fit` didn't train it, or its record can't be used.

    Args:
        model: the model directory; its training.json may hold anything.
        fingerprint: of the model, which the record must name.
    """
    try:
        with (model / RECORD_FILE).open("rb") as file:
            found = json.loads(file.read(MOST_BYTES))
        if found["fingerprint"] != fingerprint or len(found["epochs"]) > MOST_EPOCHS:
            return None
        learned, held_out = (
            tuple(_perplexity(epoch[f"{side}_perplexity"]) for epoch in found["epochs"])
            for side in ("train", "validation")
        )
        best, frequencies = int(found["best_epoch"]), _perplexity(found["unigram_perplexity"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Training(learned, held_out, best, frequencies) if 1 <= best <= len(held_out) else None


def _perplexity(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ValueError(value)
    return float(value)
