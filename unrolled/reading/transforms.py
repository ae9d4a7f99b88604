"""Turns a batch into the model's own padded outputs and masks, or into one vector for each row."""

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import column_name, parse_name
from unrolled.reading.batch import Batch
from unrolled.reading.pooling import pool_rows

Pooling = Literal["mean", "max", "last", "first"]


def to_padded(batch: Batch, column: str = "outputs") -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The outputs and masks that the model itself gives for a padded batch.

    Args:
        batch: the rows.
        column: the name of a column that has a vector for each token.

    Returns:
        outputs: float32 (rows, time, units), each vector at the position of its token, zeros elsewhere.
        masks: bool (rows, time), True where a token is real or, if the job stored the vectors of some tokens only,
            where a vector is; time is the length of the longest row as it came in.

    Raises:
        TypeError: this is no batch.
        ValueError: the column has one vector for each row.
        KeyError: the job did not store the column.
    """
    _check_batch(batch)
    vectors = batch[column]
    if not all(each.per_token for each in batch.columns if each.name == column):
        raise ValueError(f"column {column!r} has one vector for each row; it needs no padding: batch[{column!r}]")
    mask_lengths = np.diff(batch.mask_offsets)
    time = int(mask_lengths.max(initial=0))
    masks = np.zeros((len(batch), time), np.bool_)
    if batch.positions is None:
        masks[np.arange(time) < mask_lengths[:, None]] = batch.mask_values
    else:
        masks[np.repeat(np.arange(len(batch)), np.diff(batch.offsets)), batch.positions] = True
    outputs = np.zeros((len(batch), time, vectors.shape[1]), np.float32)
    # Boolean indexing walks row by row, then along time: the order of the stored vectors.
    outputs[masks] = vectors
    return outputs, masks


def pooled(batch: Batch, how: Pooling, layer: int | None = None) -> NDArray[np.float32]:
    """One vector for each row, of its real tokens: the stored one, or else one computed from the stored vectors.

    If the job stored the vectors of some tokens only (`--positions`), these are pooled: a mean is that of the words.

    Args:
        batch: the rows.
        how: "mean" (in float64, then rounded), "max", "last" or "first".
        layer: the number of the layer, from 0, if the job named layers.

    Returns:
        float32 (rows, units). A row without real tokens has no vector: NaN, unless the job stored zeros there.

    Raises:
        TypeError: this is no batch.
        ValueError: `how` is none of the four.
        KeyError: the job stored neither this pooling nor the tokens' vectors of this layer.
    """
    _check_batch(batch)
    if how not in get_args(Pooling):
        raise ValueError(f"pooling {how!r} is unknown; allowed: {', '.join(get_args(Pooling))}")
    if (stored := column_name(how, layer)) in batch.vectors:
        return batch[stored].astype(np.float32, copy=False)
    if (of_tokens := column_name("none", layer)) not in batch.vectors:
        raise KeyError(
            f"no column {stored!r}, and no {of_tokens!r} to compute it from; this job stored"
            f" {', '.join(batch.vectors)}: {_advice(batch.vectors, how, layer)}"
        )
    return pool_rows(batch[of_tokens], batch.offsets, how)


def _check_batch(given: object) -> None:
    if not isinstance(given, Batch):
        raise TypeError(
            f"this is a {type(given).__name__}; allowed: a batch, which `unrolled.open(OUT).batches()` gives"
        )


def _advice(stored: Iterable[str], how: str, layer: int | None) -> str:
    """The arguments that these columns allow, as they are typed: with this pooling, or else with others."""
    found = [found for name in stored if (found := parse_name(name))]
    layers = list(dict.fromkeys(number for pooling, number in found if pooling in ("none", how)))
    if layers:
        return f"give {' or '.join('layer=' + str(number) for number in layers)}"
    calls = [f"how={pooling!r}" + ("" if number is None else f", layer={number}") for pooling, number in found]
    options = f"--pooling {how}" + ("" if layer is None else f" --layers {layer}")
    return f"give {' or '.join(calls)}; or make a job with {options}"
