"""How much memory a process may use, as Linux says."""

from __future__ import annotations

from pathlib import Path

#: Linux's answers; tests have their own.
PROC, SYS = Path("/proc"), Path("/sys")


def memory_limit(proc: Path = PROC, system: Path = SYS) -> tuple[int, str] | None:
    """The least of the limits, in bytes, with the name of what sets it; None if the operating system doesn't say.

    Args:
        proc: Linux's file system of processes' and processors' facts.
        system: that of devices' and control groups' facts.
    """
    limits = {}
    words = text_of(proc / "meminfo").split()
    if "MemTotal:" in words and words[words.index("MemTotal:") + 1].isdecimal():
        limits["the machine"] = int(words[words.index("MemTotal:") + 1]) * 1024
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        if (text := text_of(system / "fs/cgroup" / file).strip()).isdecimal():
            limits["its control group"] = int(text)
    return min(((limit, who) for who, limit in limits.items()), default=None)


def text_of(path: Path) -> str:
    """The text of a file; empty if it can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
