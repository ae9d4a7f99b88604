"""One row, as NumPy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: float32, or float16 if the job stored that.
Vectors = NDArray[np.floating[Any]]


#: The columns without vectors, and the attributes of `Row` that hold them.
_OTHERS = {name: name for name in ("id", "length", "mask", "tokens", "positions")}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Row:
    """One input sequence and its vectors. The arrays are read-only views.

    `row["mean"]` is the row's vector in the column "mean"; `row.outputs` is short for `row["outputs"]`.

    Attributes:
        id: the user's own id, or else "<file>#<row>".
        length: number of real tokens.
        mask: bool (tokens as the row came in,), True where a token is real.
        vectors: by column name, float32 or float16 as the job stored them: "outputs" (length, units) has one vector
            for each True of the mask, in order; "mean", "max", "last" and "first" are one vector, (units,), NaN if the
            row has no real token, unless the job stored zeros there.
        tokens: int32 (len(mask),), or None if the job did not store them.
        positions: int32; if the job stored the vectors of some tokens only (`--positions`), the place in the mask of
            each vector of "outputs"; None if it stored all.
    """

    id: str
    length: int
    mask: NDArray[np.bool_]
    vectors: Mapping[str, Vectors]
    tokens: NDArray[np.int32] | None
    positions: NDArray[np.int32] | None = None

    def __repr__(self) -> str:
        """The row without its numbers, of which there may be millions."""
        return f"<row {self.id!r:.100} of length {self.length}, with {shapes_of(self.vectors)}>"

    @property
    def outputs(self) -> Vectors:
        """The vectors of the row's tokens, (length, units), or of those at its positions.

        Raises:
            AttributeError: the job stored no such column; for named layers, use `row["outputs_0"]`.
        """
        return outputs_of(self.vectors)

    def __getitem__(self, column: str) -> Vectors:
        return column_of(self.vectors, column, _OTHERS)


def shapes_of(vectors: Mapping[str, Vectors]) -> str:
    """Columns of vectors with their shapes, for people."""
    return ", ".join(f"{name} {array.shape}" for name, array in vectors.items())


def column_of(vectors: Mapping[str, Vectors], name: str, others: Mapping[str, str]) -> Vectors:
    """A column of vectors by its name.

    Args:
        vectors: the columns.
        name: the name.
        others: the attributes that hold the columns without vectors, by the names of these columns.

    Raises:
        KeyError: there is no such column of vectors; the text lists those that there are, or names the attribute.
    """
    if name in vectors:
        return vectors[name]
    about = f"{name} has no vectors: take .{others[name]}" if name in others else f"no column {name!r} of vectors"
    raise KeyError(f"{about}; this job stored {', '.join(vectors)}")


def outputs_of(vectors: Mapping[str, Vectors]) -> Vectors:
    """The column "outputs"; the AttributeError without it says which columns there are."""
    if "outputs" not in vectors:
        example = next(iter(vectors))
        raise AttributeError(f"no column 'outputs'; this job stored {', '.join(vectors)}: take row[{example!r}]")
    return vectors["outputs"]
