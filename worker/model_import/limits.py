"""Limits on the sizes and counts in a file, checked before memory is taken."""

import math
from typing import Any

from worker.model_import.errors import ImportRefusedError

#: The largest array, and the most that is read from a packed file. A model directory has the same limit.
MOST_BYTES = 2**34
#: The longest configuration in JSON; those of large models have a few MB.
MOST_JSON_BYTES = 64 << 20
#: The most arrays in a file, or layers in a configuration.
MOST_NAMES = 200_000
#: The most operations in a graph.
MOST_CALLS = 10_000
#: The most recurrent layers in a file, or calls of them; deep models have a dozen.
MOST_LAYERS = 512
#: The highest ratio that deflate reaches: an array that claims a higher one isn't stored whole.
LARGEST_RATIO = 1032
#: Trained weights hardly shrink. What is larger than _SMALL_BYTES may not be packed more tightly than this.
_TRAINED_RATIO, _SMALL_BYTES = 100, 256 << 20


def check_array(
    place: str, shape: tuple[Any, ...], item_bytes: int, stored_bytes: int | None = None
) -> tuple[int, ...]:
    """Check that an array may be read, and return its shape as whole numbers.

    Args:
        place: the array's name, for the error.
        shape: as the file claims it.
        item_bytes: bytes of one number in memory.
        stored_bytes: bytes that the file stores for the array; None if unknown.

    Raises:
        ImportRefusedError: a size is negative, or the array is larger than the limit or than the stored bytes allow.
    """
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise ImportRefusedError(f"{place}: its shape {sizes} has a negative size; the file is damaged")
    size_bytes = math.prod(sizes) * item_bytes
    if size_bytes > MOST_BYTES:
        raise ImportRefusedError(f"{place}: {sizes} takes {size_bytes:,} bytes; at most {MOST_BYTES:,} are allowed")
    if stored_bytes is not None and size_bytes > most_unpacked(stored_bytes):
        raise ImportRefusedError(
            f"{place}: {sizes} takes {size_bytes:,} bytes, but the file stores only {stored_bytes:,}; it is damaged"
        )
    return sizes


def most_unpacked(stored_bytes: int) -> int:
    """The most bytes that weights may have in memory, for a number of stored bytes."""
    return min(max(stored_bytes, 1) * LARGEST_RATIO, max(_SMALL_BYTES, stored_bytes * _TRAINED_RATIO), MOST_BYTES)


def check_count(place: str, count: int) -> None:
    """Check the number of arrays or layers.

    Raises:
        ImportRefusedError: there are more than MOST_NAMES.
    """
    if count > MOST_NAMES:
        raise ImportRefusedError(f"{place}: has more than {MOST_NAMES:,} parts; no model has that many")


def check_layers(count: int) -> None:
    """Check the number of recurrent layers, or of their calls.

    Raises:
        ImportRefusedError: there are more than MOST_LAYERS.
    """
    if count > MOST_LAYERS:
        raise ImportRefusedError(f"it has more than {MOST_LAYERS} recurrent layers; save those that you need alone")


def check_calls(count: int) -> None:
    """Check the number of operations in a graph.

    Raises:
        ImportRefusedError: there are more than MOST_CALLS.
    """
    if count > MOST_CALLS:
        raise ImportRefusedError(
            f"the model's graph has more than {MOST_CALLS:,} operations; save the recurrent part alone"
        )
