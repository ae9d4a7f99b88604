"""Where a training stands."""

import math
from dataclasses import dataclass, field

_LARGEST_EXPONENT = 700.0


@dataclass(slots=True)
class Progress:
    """Where a training stands, as its checkpoint says.

    Attributes:
        epoch: the one that runs, from 0.
        batches: of it that are done.
        loss: summed over its targets, in nats.
        targets: of it that are done.
        epochs: what the record says of each one that is done.
        best_epoch: the one with the best validation perplexity, from 1; 0 before the first.
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
        """Whether no epoch is to come."""
        return self.epoch >= epochs or self.epoch - self.best_epoch >= patience


def perplexity(loss: float, targets: int) -> float:
    """That of a summed loss, in nats; no more than a float holds."""
    return math.exp(min(loss / targets, _LARGEST_EXPONENT))
