"""How much memory a process may use, as Linux says."""

from __future__ import annotations

from pathlib import Path

#: Linux's answers; tests have their own.
PROC, SYS = Path("/proc"), Path("/sys")
# How libraries say that they got no memory; the last two ways have other causes too.
_NO_MEMORY = ("memoryerror", "cannot allocate memory", "unable to allocate", "bad_alloc")
_PERHAPS = ("failed to map segment", "can't start new thread")


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


def memory_note(error: str, proc: Path = PROC) -> str:
    """What to add to an error that is one of too little memory; empty for another one.

    Args:
        error: its type and text, as Python prints them.
        proc: as for `memory_limit`.
    """
    text = error.lower()
    # From a file, because the module `resource` is a library, for which there may be no memory either.
    _, _, limits = text_of(proc / "self/limits").partition("Max address space")
    soft = limits.split(maxsplit=1)[0] if limits.strip() else ""
    if soft.isdecimal() and any(sign in text for sign in (*_NO_MEMORY, *_PERHAPS)):
        return (
            f"; there is not enough memory, because this process is limited to {int(soft) / 2**30:.2f} GiB of "
            "addresses: raise the limit, with `ulimit -v unlimited`"
        )
    return "; there is not enough memory" if any(sign in text for sign in _NO_MEMORY) else ""


def text_of(path: Path) -> str:
    """The text of a file; empty if it can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
