"""The checks of the vectors that a shard's rows name, and of the initial states that they bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from unrolled.tokenization.ragged import Ragged


def with_vectors(index: int, shard: Ragged, vector_dim: int | None) -> Ragged:
    """A shard with a table of the vectors that its rows name: of a few rows of a large shard with those of the rows.

    Args:
        index: the shard's number in its pool, for messages.
        shard: its rows; an id may be anything.
        vector_dim: width of the vectors that the model reads; None if it reads token ids, whose shards stay as they
            are.

    Raises:
        RequestError: the rows are not of the kind that the model reads.
    """
    values, vectors = shard.values, shard.vectors
    if vector_dim is None:
        if vectors is not None:
            raise RequestError(f"shard {index} has vectors, and the model reads token ids")
        return shard
    if vectors is None and not len(values):
        vectors = np.zeros((0, vector_dim), np.float32)
    if vectors is None or vectors.dtype != np.float32 or vectors.shape != (len(vectors), vector_dim):
        found = "no vectors" if vectors is None else f"vectors {vectors.dtype} {vectors.shape}"
        raise RequestError(f"shard {index} has {found}; the model reads float32 (any number, {vector_dim})")
    if len(values) and not 1 <= int(values.min()) <= int(values.max()) <= len(vectors):
        raise RequestError(f"shard {index} has an id that isn't the number of one of its {len(vectors):,} vectors")
    whole = shard._replace(vectors=np.ascontiguousarray(vectors))
    return whole.compact() if len(vectors) > len(values) else whole


def with_states(index: int, shard: Ragged, given_dim: int) -> Ragged:
    """A shard with the initial states of its rows, if the model reads them.

    Args:
        index: the shard's number in its pool, for messages.
        shard: its rows.
        given_dim: how many numbers the model reads as the initial states of a row; 0 for none.

    Raises:
        RequestError: the rows don't bring what the model reads.
    """
    states = shard.states
    if not given_dim:
        if states is not None:
            raise RequestError(f"shard {index} has initial states, and the model reads none")
        return shard
    if states is None and not shard.rows:
        states = np.zeros((0, given_dim), np.float32)
    if states is None or states.dtype != np.float32 or states.shape != (shard.rows, given_dim):
        found = "no initial states" if states is None else f"initial states {states.dtype} {states.shape}"
        raise RequestError(f"shard {index} has {found}; the model reads float32 {(shard.rows, given_dim)}")
    return shard._replace(states=np.ascontiguousarray(states))
