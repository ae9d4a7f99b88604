"""The division of memory among this process's threads by the C library's allocator."""

import ctypes

# From glibc's <malloc.h>.
_M_ARENA_MAX = -8
#: A few are enough: Python's threads hold the interpreter lock while they allocate, so they don't wait for each other.
ARENAS = 2


def share_arenas() -> bool:
    """Let threads share the memory that they free. Call it before they start.

    Otherwise each thread keeps the memory of a shard's rows when it has finished with them: 6 MiB for a pooled shard.

    Returns:
        False where the C library isn't glibc.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError, TypeError):
        return False
