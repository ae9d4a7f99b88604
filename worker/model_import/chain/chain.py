"""What is taken of a file: an embedding and the recurrent layers on it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from worker.model_import.found import Layer, Table


@dataclass(slots=True)
class Chain:
    """What is taken.

    Attributes:
        table: the embedding, or None where ids enter as one-hot vectors.
        layers: from the first to the last.
        residual: for each layer, whether its input is added to its output.
    """

    table: Table | None
    layers: list[Layer] = field(default_factory=list)
    residual: list[bool] = field(default_factory=list)


def names_of(named: Iterable[str]) -> str:
    """The first names, for people."""
    first = list(islice(named, 21))
    return (", ".join(first[:20]) + (", …" if len(first) > 20 else "")) or "none"
