"""Checks the caller's arrays and passes their addresses to the kernel, which trusts them."""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import RequestError
from unrolled.format.columns import POOLINGS, VectorColumn
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused import library
from worker.engines.vectors import with_states, with_vectors


class PoolArrays:
    """The addresses of a pool's rows and of the arrays for its results.

    Attributes:
        shards: one structure for each shard.
        columns: one structure for each column.
    """

    def __init__(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: Sequence[VectorColumn],
        layer_dims: tuple[int, ...],
        vector_dim: int | None = None,
        given_dim: int = 0,
    ) -> None:
        """Check arrays and take their addresses. The caller must keep the arrays alive.

        Args:
            shards: rows.
            outputs: for each shard and column an array, see `worker.engines.engine.Engine.compute`.
            columns: the columns.
            layer_dims: width of each layer's output.
            vector_dim: width of the vectors that rows contain; None if they contain token ids.
            given_dim: width of the initial states that rows bring; 0 if they bring none.

        Raises:
            RequestError: there are too many or too few arrays, an array has the wrong type, shape or layout, rows are
                not of the kind that the model reads, or it doesn't have a column.
        """
        _check_columns(columns, layer_dims)
        if len(shards) != len(outputs):
            raise RequestError(f"{len(shards)} shards have {len(outputs)} lists of outputs; each needs one")
        self.columns = (library.Column * len(columns))(
            *(library.Column(column.layer_of(len(layer_dims)), POOLINGS.index(column.pooling)) for column in columns)
        )
        self._addresses = [(ctypes.c_void_p * len(columns))() for _ in shards]
        self.shards = (library.Shard * len(shards))()
        self._rows = [
            with_states(index, with_vectors(index, shard, vector_dim), given_dim) for index, shard in enumerate(shards)
        ]
        for index, (shard, arrays) in enumerate(zip(self._rows, outputs, strict=True)):
            self.shards[index] = _describe(index, shard, arrays, columns, self._addresses[index])


def _check_columns(columns: Sequence[VectorColumn], layer_dims: tuple[int, ...]) -> None:
    choices = [(column.layer_of(len(layer_dims)), column.pooling) for column in columns]
    for column, (layer, pooling) in zip(columns, choices, strict=True):
        fits = type(layer) is int and 0 <= layer < len(layer_dims) and pooling in POOLINGS
        if not fits or column.width != layer_dims[layer]:
            raise RequestError(
                f"the model has no column {column.name} of width {column.width}; its layers are {layer_dims} wide"
            )
    if not columns or len(set(choices)) < len(choices):
        raise RequestError(f"{len(columns)} columns are asked for; at least one is needed, and none twice")


def _describe(
    index: int,
    shard: Ragged,
    outputs: Sequence[NDArray[np.float32]],
    columns: Sequence[VectorColumn],
    addresses: "ctypes.Array[ctypes.c_void_p]",
) -> library.Shard:
    values, offsets, vectors, states = shard
    if len(outputs) != len(columns):
        raise RequestError(f"shard {index} has {len(outputs)} arrays for {len(columns)} columns; each needs one")
    _check(index, "values", values, np.int32, (len(values),))
    _check(index, "offsets", offsets, np.int64, (max(len(offsets), 1),))
    for place, (array, column) in enumerate(zip(outputs, columns, strict=True)):
        rows = len(values) if column.per_token else len(offsets) - 1
        _check(index, column.name, array, np.float32, (rows, column.width))
        if not array.flags.writeable:
            raise RequestError(f"shard {index}: {column.name} is read-only; pass a writeable array")
        addresses[place] = array.ctypes.data
    return library.Shard(
        *(values.ctypes.data, offsets.ctypes.data, len(offsets) - 1, len(values), ctypes.addressof(addresses)),
        *((None, 0) if vectors is None else (vectors.ctypes.data, len(vectors))),
        None if states is None else states.ctypes.data,
    )


def _check(index: int, name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype == dtype and array.shape == shape and array.flags.c_contiguous:
        return
    layout = "" if array.flags.c_contiguous else ", not contiguous"
    raise RequestError(
        f"shard {index}: {name} is {array.dtype} {array.shape}{layout}; "
        f"{np.dtype(dtype)} {shape}, contiguous, is needed"
    )
