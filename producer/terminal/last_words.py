"""What a process said last of what went wrong, in what it has printed."""

from __future__ import annotations

import re

#: Lines in which a crash lists where it happened: those of absl's logging and of Python's faulthandler.
_PLACE = re.compile(
    r"(PC: )?@ +(0x|\.\.\.)|\*\*\* .*stack trace|File \"|Current thread |Thread 0x|Extension modules: |\.\.\.$"
    r"|<no Python frame>"
)


def last_words(printed: str) -> str:
    """The last line that isn't blank and isn't a part of a list of stack frames; empty where there is none."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    told = [line for line in lines if not _PLACE.match(line)] or lines
    # A signal is the reason only where nothing else is.
    told = [line for line in told if not line.startswith("*** ")] or told
    return told[-1] if told else ""
