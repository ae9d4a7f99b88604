"""Memory that a loader's worker fills with batches, again and again: a batch is written where an earlier one was.

PyTorch sends each tensor of a batch in shared memory of its own, which both processes have to ask for, to map and to
touch for the first time: for a batch of some megabytes that takes longer than to make it. Here a batch's tensors are
sent as places in a slot, which is mapped once. Its first bytes say who has tensors in it; if no one has, it is free.
"""

# Over 150 lines: the worker that fills a slot and the parent that reads it agree on each of its bytes.

from __future__ import annotations

import math
import mmap
import multiprocessing
import os
import secrets
import weakref
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import get_worker_info

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

# At most this many slots of a worker are in use; a batch that finds none is sent as PyTorch sends it.
_MOST_SLOTS = 16
# Arrays begin at multiples of this; the first one is behind the slot's own bytes.
_ALIGNMENT = 64
# A slot has room for this much more than a batch's largest array.
_MORE_BYTES = 1 << 16
# Whether the worker has arrays in a slot, whether its parent has tensors there, and whether its parent has it mapped.
_OF_WORKER, _OF_PARENT, _IS_MAPPED = 0, 1, 2


class _Slot:
    """Memory that two processes share.

    Args:
        name: of the slot: its worker's process, and something that no other slot has.
        descriptor: of the memory; the slot closes it.
        size: bytes to map.
    """

    def __init__(self, name: tuple[int, str], descriptor: int, size: int) -> None:
        self.name, self.descriptor = name, descriptor
        self.memory = mmap.mmap(descriptor, size)
        weakref.finalize(self, os.close, descriptor).atexit = False

    def map(self, size: int) -> None:
        """Map this many bytes, if fewer are mapped."""
        if len(self.memory) < size:
            self.memory = mmap.mmap(self.descriptor, size)

    def bytes(self, flag: int) -> NDArray[np.uint8]:
        """All bytes, with the flag set until neither this array nor a view of it is in use."""
        self.memory[flag] = 1
        every = np.frombuffer(self.memory, np.uint8)
        weakref.finalize(every, _clear, self.memory, flag, os.getpid()).atexit = False
        return every


def _clear(memory: mmap.mmap, flag: int, process: int) -> None:
    if os.getpid() == process:  # a process that was forked has the objects too, but doesn't use them
        memory[flag] = 0


# A worker's slots, and those of workers that their parent has mapped, by name.
_slots: list[_Slot] = []
_mapped: dict[tuple[int, str], _Slot] = {}


def _free_slot(size: int) -> _Slot | None:
    """A slot of this worker for a batch whose largest array has this size; None where there can't be one."""
    if not hasattr(os, "memfd_create"):  # Linux alone has memory that is shared by its descriptor
        return None
    mine = [slot for slot in _slots if slot.name[0] == os.getpid()]
    slot = next((slot for slot in mine if not slot.memory[_OF_WORKER] and not slot.memory[_OF_PARENT]), None)
    needed = 1 << (size + size // 4 + _MORE_BYTES).bit_length()  # pages that are never touched take no memory
    if slot is None:
        if len(mine) == _MOST_SLOTS:
            return None
        try:
            descriptor = os.memfd_create("unrolled-batch")
        except OSError:  # the system forbids it, or has no more descriptors
            return None
        os.ftruncate(descriptor, needed)
        slot = _Slot((os.getpid(), secrets.token_hex(8)), descriptor, needed)
        _slots.append(slot)
    elif len(slot.memory) < needed:
        os.ftruncate(slot.descriptor, needed)
        slot.map(needed)
    return slot


class _Place(NamedTuple):
    """Where a tensor is in a slot."""

    begin: int
    size: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class _Packed(NamedTuple):
    """The parts of a `PackedSequence`: places, or tensors."""

    parts: list[Any]


class BatchMemory:
    """Memory for the arrays of one batch: in a slot if this process is a loader's worker, and ordinary elsewhere."""

    def __init__(self) -> None:
        self._slot: _Slot | None = None
        self._bytes = np.empty(0, np.uint8)
        self._used = _ALIGNMENT
        self._is_begun = self._is_sent = False

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array as `numpy.empty` makes it. The largest of a batch is to be the first."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not self._is_begun and get_worker_info() is not None and (slot := _free_slot(size)):
            self._slot, self._bytes = slot, slot.bytes(_OF_WORKER)
        self._is_begun = True
        begin = self._used
        if begin + size > len(self._bytes):
            return np.empty(shape, dtype)
        self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
        found: NDArray[Any] = self._bytes[begin : begin + size].view(dtype).reshape(shape)
        return found

    def kept(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy of an array."""
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def batch(self, values: dict[str, Any]) -> dict[str, Any]:
        """A batch as a collate function returns it. Its tensors in the slot, and those alone, are sent as places."""
        return values if self._slot is None else _Batch(values, self)

    def sent(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """What is pickled of a batch: a function that the parent calls, and its arguments."""
        slot = self._slot
        places = {key: self._placed(value) for key, value in values.items()}
        if slot is None or self._is_sent or all(places[key] is value for key, value in values.items()):
            return dict, (dict(values),)
        self._is_sent = True
        slot.memory[_OF_PARENT] = 1
        descriptor = None if slot.memory[_IS_MAPPED] else DupFd(slot.descriptor)
        return _received, (slot.name, descriptor, len(slot.memory), places)

    def _placed(self, value: Any) -> Any:
        """The place of a tensor in the slot; any other value as it is."""
        if isinstance(value, PackedSequence):
            parts = [self._placed(part) for part in value]
            return value if all(map(lambda a, b: a is b, parts, value)) else _Packed(parts)
        if type(value) is not torch.Tensor or value.layout != torch.strided or value.requires_grad:
            return value
        begin, size = value.data_ptr() - self._bytes.ctypes.data, value.nbytes
        if value.device.type == "cpu" and value.is_contiguous() and 0 <= begin < begin + size <= self._used:
            return _Place(begin, size, tuple(value.shape), value.dtype)
        return value


class _Batch(dict[str, Any]):
    """A batch with its memory. It is a dictionary of tensors for all but the loader's queue."""

    def __init__(self, values: dict[str, Any], memory: BatchMemory) -> None:
        super().__init__(values)
        self.memory = memory


ForkingPickler.register(_Batch, lambda batch: batch.memory.sent(batch))


def _received(name: tuple[int, str], descriptor: Any, size: int, places: dict[str, Any]) -> dict[str, Any]:
    """The batch, in the worker's parent."""
    if name not in _mapped:
        _forget_with(name[0])
        _mapped[name] = _Slot(name, descriptor.detach(), size)
    slot = _mapped[name]
    slot.map(size)
    slot.memory[_IS_MAPPED] = 1
    every = slot.bytes(_OF_PARENT)
    return {key: _found(every, value) for key, value in places.items()}


def _found(every: NDArray[np.uint8], value: Any) -> Any:
    if isinstance(value, _Packed):
        return PackedSequence(*(_found(every, part) for part in value.parts))
    if not isinstance(value, _Place):
        return value
    return torch.from_numpy(every[value.begin : value.begin + value.size]).view(value.dtype).reshape(value.shape)


def _forget_with(worker: int) -> None:
    """Unmap a worker's slots when the loader has no use for it any more; tensors that are left keep their memory."""
    if any(process == worker for process, _ in _mapped):
        return
    for process in multiprocessing.active_children():
        if process.pid == worker:
            weakref.finalize(process, _forget, worker).atexit = False


def _forget(worker: int) -> None:
    for name in [name for name in _mapped if name[0] == worker]:
        _mapped.pop(name, None)
