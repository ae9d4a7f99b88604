"""The columns of vectors that a file can have: what each contains, and its name.

A column's name says how a row's vectors are pooled: `outputs` (not at all: one vector for each real token), `mean`,
`max`, `last`, `first` (one vector for each row). If the job names layers, the layer's number follows: `outputs_0`,
`mean_1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How a row's vectors are pooled, in the order of a file's columns; "none" keeps every token's vector.
POOLINGS = ("none", "mean", "max", "last", "first")
#: More layers than any model has.
MOST_LAYERS = 64


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """One column of vectors.

    Attributes:
        pooling: one of `POOLINGS`.
        layer: the layer whose outputs it contains, from 0; None for the last one, if the job names no layers.
        width: numbers in one vector, at least 1.
    """

    pooling: str
    layer: int | None
    width: int

    @property
    def name(self) -> str:
        """The name of the column in a file."""
        return column_name(self.pooling, self.layer)

    @property
    def per_token(self) -> bool:
        """Whether it has a vector for each real token; if not, it has one for each row."""
        return self.pooling == "none"

    def vectors(self, rows: int, tokens: int) -> int:
        """The number of vectors that it has for this many rows and real tokens."""
        return tokens if self.per_token else rows

    def layer_of(self, layers: int) -> int:
        """The number of its layer, from 0, in a model with this many layers."""
        return layers - 1 if self.layer is None else self.layer


def column_name(pooling: str, layer: int | None = None) -> str:
    """The name of a column: "outputs" or the pooling, with the layer's number if the job names layers."""
    name = "outputs" if pooling == "none" else pooling
    return name if layer is None else f"{name}_{layer}"


_NAME = re.compile(rf"({'|'.join(column_name(pooling) for pooling in POOLINGS)})(?:_(0|[1-9][0-9]?))?")


def parse_name(name: str) -> tuple[str, int | None] | None:
    """The pooling and the layer of a column of vectors, from its name; None for any other column."""
    found = _NAME.fullmatch(name)
    layer = int(found[2]) if found and found[2] else None
    if not found or (layer or 0) >= MOST_LAYERS:
        return None
    return "none" if found[1] == "outputs" else found[1], layer


def vector_bytes(columns: Iterable[VectorColumn], rows: int, tokens: int) -> int:
    """Bytes of the float32 vectors of this many rows and real tokens."""
    return sum(4 * column.width * column.vectors(rows, tokens) for column in columns)
