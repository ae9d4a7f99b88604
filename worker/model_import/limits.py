"""What is too large or too deep to be a model: refused before memory is taken for it."""

import math
from typing import Any

from worker.model_import.errors import ImportRefusedError

#: Of one array, and of all that is read from a packed file; the largest model directory is as large.
MOST_BYTES = 2**34
#: A model's configuration in JSON; large ones have some MB.
MOST_JSON_BYTES = 64 << 20
#: Arrays in a file, layers in a configuration, operations in a graph.
MOST_NAMES = 200_000
MOST_CALLS = 10_000
#: deflate can't shrink anything further than this, so an array that claims to isn't stored.
LARGEST_RATIO = 1032


def check_array(
    place: str, shape: tuple[Any, ...], item_bytes: int, stored_bytes: int | None = None
) -> tuple[int, ...]:
    """See that an array may be read; its shape as whole numbers.

    Raises:
        ImportRefusedError: it is larger than any model's, or larger than what is stored can make.
    """
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise ImportRefusedError(f"{place}: its shape {sizes} has a negative size; the file is damaged")
    size_bytes = math.prod(sizes) * item_bytes
    if size_bytes > MOST_BYTES:
        raise ImportRefusedError(f"{place}: {sizes} takes {size_bytes:,} bytes; at most {MOST_BYTES:,} are allowed")
    if stored_bytes is not None and size_bytes > stored_bytes * LARGEST_RATIO:
        raise ImportRefusedError(
            f"{place}: {sizes} takes {size_bytes:,} bytes, and the file stores {stored_bytes:,} for it; it is damaged"
        )
    return sizes


def check_count(place: str, count: int) -> None:
    """Raise ImportRefusedError if a file has more parts than any model."""
    if count > MOST_NAMES:
        raise ImportRefusedError(f"{place}: has over {MOST_NAMES:,} parts, and no model's file has")


def check_calls(count: int) -> None:
    """Raise ImportRefusedError if a graph has more operations than any model that can be read."""
    if count > MOST_CALLS:
        raise ImportRefusedError(f"the model's graph has over {MOST_CALLS:,} operations; save the recurrent part alone")
