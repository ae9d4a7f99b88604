"""How the C library's allocator keeps memory for this process's threads."""

import ctypes

# Of <malloc.h>; glibc's alone.
_M_ARENA_MAX = -8
#: Threads that hold the interpreter lock while they allocate don't wait for each other in the allocator.
ARENAS = 2


def share_arenas() -> bool:
    """Let threads share what they free; False where the C library isn't glibc.

    To be called before the threads are there. Each would keep a shard's rows after it is done with them, for itself:
    6 MiB of a pooled shard.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError, TypeError):
        return False
