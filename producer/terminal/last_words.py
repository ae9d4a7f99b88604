"""What a process said last of what went wrong, in what it has printed."""

from __future__ import annotations

import re

#: Lines in which a crash lists where it happened: those of absl's logging and of Python's faulthandler.
_PLACE = re.compile(
    r"(PC: )?@ +(0x|\.\.\.)|\*\*\* .*stack trace|File \"|Current thread |Thread 0x|Extension modules: |\.\.\.$"
    r"|<no Python frame>"
)
#: A signal that has ended the process, and lines that say why it was sent.
_SIGNAL = re.compile(r"\*\*\* (SIG\w+ received|Aborted at)")
_FATAL = re.compile(
    r"^F\d{4} |^\S+ \S+: F \S+:\d+\]|Check failed|^Fatal |^terminate called|^what\(\):"
    r"|^((malloc|free)\(\)|double free|corrupted size)"
)


def last_words(printed: str) -> str:
    """The last line that isn't blank and isn't a part of a list of stack frames; empty where there is none."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    told = [line for line in lines if not _PLACE.match(line)] or lines
    if told and _SIGNAL.match(told[-1]):  # which follows from a reason, where that was printed
        earlier = [at for at, line in enumerate(told[:-1]) if _SIGNAL.match(line)]  # of a process before this one
        told = [line for line in told[earlier[-1] + 1 if earlier else 0 :] if _FATAL.search(line)] or told
    return told[-1] if told else ""
