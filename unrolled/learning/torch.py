"""Examples for PyTorch: a dataset for its `DataLoader`, and functions that make batches."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError("unrolled.learning.torch needs PyTorch: pip install torch") from error
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import IterableDataset, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from unrolled.learning.batches import Example, given_labels, padded
from unrolled.learning.examples import check_examples
from unrolled.learning.slots import BatchMemory
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from unrolled.learning.examples import Examples


class TorchExamples(IterableDataset):  # type: ignore[misc] # torch may be untyped
    """Examples for `torch.utils.data.DataLoader`; each of its workers reads other rows.

    In a distributed program give each process its share: `TorchExamples(examples.of_worker(rank, world_size))`.

    Args:
        examples: which rows, with which labels. If they are shuffled, every pass over them is another epoch.

    Raises:
        TypeError: `examples` are not `unrolled.Examples`.
    """

    def __init__(self, examples: Examples) -> None:
        check_examples(examples)
        self._examples = examples
        self._epoch = self._counted = examples.epoch
        self._length: tuple[int, int] | None = None

    def __len__(self) -> int:
        """How many examples an epoch has, those of all workers of a loader together.

        All ids are read for it, once, or once an epoch if `of_worker` divides shuffled examples. Each of several
        workers ends with a batch of its own: an epoch may then have a few batches more than `len(loader)`.
        """
        of = self._examples
        if self._length is None or (self._length[0] != self._counted and of.workers > 1 and of.seed is not None):
            self._length = self._counted, len(of.of_epoch(self._counted))
        return self._length[1]

    def __iter__(self) -> Iterator[Example]:
        examples = self._examples.of_epoch(self._epoch)
        self._counted, self._epoch = self._epoch, self._epoch + 1
        worker = get_worker_info()
        if worker is not None:
            # Its copies of this object begin at the epoch that was reached when the workers were started.
            examples = examples.of_worker(worker.id, worker.num_workers)
        return iter(examples)

    def set_epoch(self, epoch: int) -> None:
        """Continue with the order of this epoch; call it before each epoch if the loader starts its workers again."""
        self._epoch = self._counted = epoch


def collate_padded(examples: Sequence[Example]) -> dict[str, Any]:
    """A batch for `DataLoader(collate_fn=…)`, which uses this function if it is given no other.

    Returns:
        "ids"; "vectors", float32 (rows, time, width), or (rows, width) of a pooled column; "mask", bool (rows, time),
        unless the column is pooled; "labels", if there are some, -100 where there is no token.

    Raises:
        ValueError: a row has another number of labels than tokens, or some rows have one label and some have many.
    """
    memory = BatchMemory()
    batch = padded(_in_float32(examples), memory.empty)
    found: dict[str, Any] = {"ids": batch.ids, "vectors": torch.from_numpy(batch.vectors)}
    if batch.mask is not None:
        found["mask"] = torch.from_numpy(batch.mask)
    if batch.labels is not None:
        found["labels"] = torch.from_numpy(batch.labels)
    return memory.batch(found)


def _collate(examples: Sequence[Example], *, collate_fn_map: object = None) -> dict[str, Any]:
    """`collate_padded` in the form in which PyTorch calls the functions of its map."""
    del collate_fn_map
    return collate_padded(examples)


# PyTorch's own way would be a tuple, with a warning about arrays that can't be written, and no way for unequal lengths.
default_collate_fn_map[Example] = _collate


def collate_packed(examples: Sequence[Example]) -> dict[str, Any]:
    """A batch for `DataLoader(collate_fn=…)` without padding.

    Returns:
        "ids"; "vectors", a `PackedSequence`; "labels", if there are some: one for each row, or a `PackedSequence`.

    Raises:
        ValueError: the column is pooled; or labels don't fit, as for `collate_padded`.
    """
    if examples[0].vectors.ndim == 1:
        raise ValueError("the column is pooled, so there is nothing to pack; take collate_padded, or another column")
    labels = given_labels(examples)
    memory = BatchMemory()
    found: dict[str, Any] = {
        "ids": [example.id for example in examples],
        "vectors": _packed([example.vectors for example in _in_float32(examples)], np.dtype(np.float32), memory),
    }
    if isinstance(labels, list):
        found["labels"] = _packed(labels, np.result_type(*labels), memory)
    elif labels is not None:
        found["labels"] = torch.from_numpy(memory.kept(labels))
    return memory.batch(found)


def _in_float32(examples: Sequence[Example]) -> Sequence[Example]:
    """Examples with vectors in float32: PyTorch converts all of them at once, ten times as fast as NumPy."""
    if examples[0].vectors.dtype == np.float32:
        return examples
    rows = [example.vectors for example in examples]
    flat = torch.from_numpy(np.concatenate(rows)).float().numpy()
    ends = pairwise(offsets_of(np.array([len(row) for row in rows])).tolist())
    return [example._replace(vectors=flat[begin:end]) for example, (begin, end) in zip(examples, ends, strict=True)]


def _packed(rows: Sequence[NDArray[Any]], kind: np.dtype[Any], memory: BatchMemory) -> PackedSequence:
    """The result of `torch.nn.utils.rnn.pack_sequence(rows, enforce_sorted=False)`, without padding on the way."""
    lengths = np.array([len(row) for row in rows])
    order = np.argsort(-lengths, kind="stable")
    begins = offsets_of(lengths[order])[:-1]
    time, row = np.nonzero(np.arange(lengths.max())[:, None] < lengths[order])
    flat = np.concatenate([rows[at] for at in order.tolist()], dtype=kind)
    # The first tokens of all rows, then their second tokens, …
    found = memory.empty(flat.shape, kind)
    np.take(flat, begins[row] + time, axis=0, out=found, mode="clip")  # without "clip", NumPy would make a copy first
    small = map(memory.kept, (np.bincount(time), order, np.argsort(order)))
    return PackedSequence(torch.from_numpy(found), *map(torch.from_numpy, small))
