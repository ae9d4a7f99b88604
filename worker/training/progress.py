"""The numbers that a training resumes with."""

import math
from dataclasses import dataclass, field

_LARGEST_EXPONENT = 700.0


@dataclass(slots=True)
class Progress:
    """How far a training is; it is part of its checkpoint.

    Attributes:
        epoch: number of the current epoch, from 0.
        batches: how many of its batches are done.
        loss: the loss summed over its targets so far, in nats.
        targets: number of its targets so far.
        epochs: the entries of training.json for the epochs that are done.
        best_epoch: number of the epoch with the best validation perplexity, from 1; 0 before the first.
    """

    epoch: int = 0
    batches: int = 0
    loss: float = 0.0
    targets: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def best(self) -> float:
        """The best validation perplexity."""
        return self.epochs[self.best_epoch - 1]["validation_perplexity"] if self.best_epoch else math.inf

    def ended(self, epochs: int, patience: int) -> bool:
        """Whether the training is over: all epochs are done, or `patience` of them without a better result."""
        return self.epoch >= epochs or self.epoch - self.best_epoch >= patience


def perplexity(loss: float, targets: int) -> float:
    """The perplexity of a loss summed over targets, in nats; at most what a float can represent."""
    return math.exp(min(loss / targets, _LARGEST_EXPONENT))
