"""Examples side by side: padded arrays and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: The label of a place where there is no token: PyTorch's losses leave it out by default.
NO_LABEL = -100


class Example(NamedTuple):
    """One row.

    Attributes:
        id: its id.
        vectors: float32 or float16 (length, width), or (width,) of a pooled column: a view that must not be changed.
        label: its label; None without labels.
    """

    id: str
    vectors: NDArray[np.floating[Any]]
    label: Any


class ExampleBatch(NamedTuple):
    """Some examples.

    Attributes:
        ids: one for each example.
        vectors: float32 (rows, time, width), zeros after the end of a row; (rows, width) of a pooled column.
        mask: bool (rows, time), True where there is a token; None of a pooled column.
        labels: (rows,), or (rows, time) if each token has one, `NO_LABEL` where there is no token; None without labels.
    """

    ids: list[str]
    vectors: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    labels: NDArray[Any] | None


def padded(examples: Sequence[Example]) -> ExampleBatch:
    """Put examples side by side.

    Args:
        examples: at least one.

    Raises:
        ValueError: a row has another number of labels than tokens, or some rows have one label and some have many.
    """
    ids = [example.id for example in examples]
    if examples[0].vectors.ndim == 1:
        vectors = np.stack([example.vectors for example in examples]).astype(np.float32, copy=False)
        return ExampleBatch(ids, vectors, None, _labels(examples, None))
    lengths = np.array([len(example.vectors) for example in examples])
    mask = np.arange(lengths.max()) < lengths[:, None]
    together = np.zeros((*mask.shape, examples[0].vectors.shape[1]), np.float32)
    for row, example in enumerate(examples):
        together[row, : len(example.vectors)] = example.vectors
    return ExampleBatch(ids, together, mask, _labels(examples, mask))


def _labels(examples: Sequence[Example], mask: NDArray[np.bool_] | None) -> NDArray[Any] | None:
    if examples[0].label is None:
        return None
    many = [isinstance(example.label, np.ndarray | list | tuple) for example in examples]
    if not any(many):
        return np.array([example.label for example in examples])
    if mask is None or not all(many):
        raise ValueError("some rows have one label, and some have one for each token; give all rows the same kind")
    labels = [np.asarray(example.label) for example in examples]
    together = np.full(mask.shape, NO_LABEL, np.result_type(*labels, np.int64))
    for row, (example, found) in enumerate(zip(examples, labels, strict=True)):
        if len(found) != len(example.vectors):
            raise ValueError(f"row {example.id!r} has {len(example.vectors)} tokens and {len(found)} labels")
        together[row, : len(found)] = found
    return together
