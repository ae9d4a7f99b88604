"""Chooses the numbers of rows that batches may have, so that a row's bits don't depend on them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unrolled.model.config import ModelConfig
from worker.engines.tensorflow.buckets import CHUNK, FEWEST_ROWS, Limits, plan, total_cost
from worker.models.tensorflow import tf


def agreeing_row_counts(
    run: Callable[[NDArray[np.int32] | NDArray[np.float32]], NDArray[np.float32]], limits: Limits, config: ModelConfig
) -> tuple[int, ...]:
    """Numbers of rows with which a row has the same bits. If there are several families of them, the cheapest one.

    Args:
        run: computes a batch of ids (batch, time) or of vectors, with the result (batch, time, width).
        limits: the limits, with the numbers to try.
        config: the model's configuration.
    """
    rng, shape = np.random.default_rng(0), (FEWEST_ROWS, 3)
    tokens: NDArray[np.int32] | NDArray[np.float32]
    if config.vector_dim is None:
        tokens = rng.integers(1, config.vocab_size + 1, shape, np.int32)
    else:
        tokens = rng.standard_normal((*shape, config.vector_dim), np.float32)
    families: dict[bytes, list[int]] = {}
    for rows in limits.row_counts:
        repeats = rows // FEWEST_ROWS
        try:
            results = run(np.concatenate([tokens] * repeats))
        except tf.errors.ResourceExhaustedError:
            break  # larger numbers would run out of memory too
        places = results.reshape(repeats, -1)
        if (places == places[0]).all():
            families.setdefault(places[0].tobytes(), []).append(rows)
    candidates = [limits._replace(row_counts=tuple(family)) for family in families.values()]
    # Rows with evenly spread lengths represent any pool: few numbers mean more padding, small ones more steps.
    lengths = np.linspace(CHUNK, 1, 5_000).astype(np.int64)
    cheapest = min(candidates, key=lambda each: total_cost(plan(lengths, each), each), default=limits)
    return cheapest.row_counts
