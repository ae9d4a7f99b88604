"""Examples side by side: padded arrays and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray

    Empty = Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]

#: The label of a place where there is no token: PyTorch's losses leave it out by default.
NO_LABEL = -100


class Example(NamedTuple):
    """One row.

    Attributes:
        id: its id.
        vectors: float32 or float16 (length, width), or (width,) of a pooled column: a view that must not be changed.
        label: its label, or an array (length,) with those of its tokens; all labels of a job have one type of NumPy,
            that of floats if one is a float. None without labels.
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


def padded(examples: Sequence[Example], empty: Empty = np.empty) -> ExampleBatch:
    """Put examples side by side.

    Args:
        examples: at least one.
        empty: makes the arrays.

    Raises:
        ValueError: a row has another number of labels than tokens, or some rows have one label and some have many.
    """
    ids = [example.id for example in examples]
    if examples[0].vectors.ndim == 1:
        vectors = empty((len(examples), len(examples[0].vectors)), np.float32)
        np.stack([example.vectors for example in examples], out=vectors)
        return ExampleBatch(ids, vectors, None, _labels(examples, None, empty))
    lengths = [len(example.vectors) for example in examples]
    time = max(lengths)
    vectors = empty((len(examples), time, examples[0].vectors.shape[1]), np.float32)
    flat, end = vectors.reshape(-1, vectors.shape[2]), 0
    for example, length in zip(examples, lengths, strict=True):
        begin, end = end, end + time
        flat[begin : begin + length] = example.vectors
        flat[begin + length : end] = 0
    mask = empty((len(examples), time), np.bool_)
    np.less(np.arange(time), np.array(lengths)[:, None], out=mask)
    return ExampleBatch(ids, vectors, mask, _labels(examples, mask, empty))


def given_labels(examples: Sequence[Example]) -> NDArray[Any] | list[NDArray[Any]] | None:
    """The labels of examples, checked.

    Args:
        examples: at least one.

    Returns:
        An array (rows,) if each row has one; for each row an array (length,) if each token has one; None without them.

    Raises:
        ValueError: a row has another number of labels than tokens, or some rows have one label and some have many.
    """
    if examples[0].label is None:
        return None
    many = [isinstance(example.label, np.ndarray | list | tuple) for example in examples]
    if not any(many):
        return np.array([example.label for example in examples])
    if not all(many):
        raise ValueError("some rows have one label, and some have one for each token; give all rows the same kind")
    if examples[0].vectors.ndim == 1:
        raise ValueError(
            "each row has one vector and many labels; give one label for each row, or choose a column with a vector "
            "for each token"
        )
    labels = [np.asarray(example.label) for example in examples]
    for example, found in zip(examples, labels, strict=True):
        if len(found) != len(example.vectors):
            raise ValueError(f"row {example.id!r} has {len(example.vectors)} tokens and {len(found)} labels")
    return labels


def _labels(examples: Sequence[Example], mask: NDArray[np.bool_] | None, empty: Empty) -> NDArray[Any] | None:
    labels = given_labels(examples)
    if labels is None:
        return None
    if mask is None or not isinstance(labels, list):
        one_each = np.asarray(labels)
        kept = empty(one_each.shape, one_each.dtype)
        kept[:] = one_each
        return kept
    together = empty(mask.shape, np.result_type(*labels, np.int64))
    together[:] = NO_LABEL
    for row, found in enumerate(labels):
        together[row, : len(found)] = found
    return together
