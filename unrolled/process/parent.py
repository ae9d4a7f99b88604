"""Ending together with the process that started this one."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: Of prctl(2): the signal that the system sends when the parent has ended.
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the system kill this process as soon as its parent has ended, however that ends; nothing where it can't.

    Args:
        parent: its process id; if it has ended already, so does this process.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):  # a library without it
        return
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)
