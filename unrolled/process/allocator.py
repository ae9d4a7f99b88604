"""What the C library's allocator, and Arrow's, keep of the memory that a process has freed."""

import ctypes

# From glibc's <malloc.h>.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
#: A few are enough: Python's threads hold the interpreter lock while they allocate, so they don't wait for each other.
ARENAS = 2
#: Blocks of this size and above go back to the system when they are freed.
LARGE_BYTES = 2**20


def share_arenas() -> bool:
    """Let threads share the memory that they free. Call it before they start.

    Otherwise each thread keeps the memory of a shard's rows when it has finished with them: 6 MiB for a pooled shard.

    Returns:
        False where the C library isn't glibc.
    """
    return _set(_M_ARENA_MAX, ARENAS)


def return_large_blocks() -> bool:
    """Give large blocks back to the system at once, Arrow's too. Call it before they are made.

    Otherwise glibc keeps blocks up to 32 MiB for the next ones, which rarely fit, and Arrow's allocator does so beside
    it: 470 MB instead of 290 for the report of a million rows.

    Returns:
        False where the C library isn't glibc.
    """
    import pyarrow as pa  # noqa: PLC0415 - it takes a while to load

    pa.set_memory_pool(pa.system_memory_pool())
    return _set(_M_MMAP_THRESHOLD, LARGE_BYTES)


def _set(option: int, value: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).mallopt(option, value))
    except (AttributeError, OSError, TypeError):
        return False
