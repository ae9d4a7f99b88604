"""The troubles of a job, counted by reason, with a few samples of each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.jobs.quarantine_lists import BadRowListed

#: Different reasons that are distinguished, and the samples of each.
MOST_REASONS, SAMPLES = 200, 3
#: What differs between rows that are bad for one reason: numbers, and what is quoted; and the sign for it.
_DIFFERENT = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d(?:[\d,.]*\d)?(?:e[-+]?\d+)?|…")


@dataclass(slots=True)
class Reason:
    """Rows in quarantine for one reason.

    Attributes:
        text: the reason, with "…" in place of what differs between them.
        rows: how many they are.
        samples: the first few.
    """

    text: str
    rows: int = 0
    samples: list[BadRowListed] = field(default_factory=list)


class Reasons:
    """Counts rows in quarantine by their reason; numbers and quoted words in a reason make no other one."""

    def __init__(self) -> None:
        self._found: dict[str, Reason] = {}
        self.others = 0

    def add(self, row: BadRowListed) -> None:
        """Count one row."""
        kind = _DIFFERENT.sub("#", row.reason)
        if kind not in self._found:
            if len(self._found) >= MOST_REASONS:
                self.others += 1
                return
            self._found[kind] = Reason(row.reason)
        reason = self._found[kind]
        if reason.text != row.reason:
            reason.text = _common(reason.text, row.reason)
        reason.rows += 1
        if len(reason.samples) < SAMPLES:
            reason.samples.append(row)

    def take(self, reason: Reason) -> None:
        """Take over what was counted elsewhere; more rows may follow."""
        self._found[_DIFFERENT.sub("#", reason.text)] = Reason(reason.text, reason.rows, [*reason.samples])

    def by_rows(self) -> list[Reason]:
        """The reasons, that with most rows first."""
        return sorted(self._found.values(), key=lambda reason: (-reason.rows, reason.text))


def _common(text: str, other: str) -> str:
    """Two reasons of one kind, with "…" in place of what differs."""
    others = iter(_DIFFERENT.findall(other))
    return _DIFFERENT.sub(lambda found: found[0] if found[0] == next(others) else "…", text)
