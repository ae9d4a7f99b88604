"""One check of `unrolled doctor`. Each thing that it looks at has a module of its own."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        outcome: "fail" where a job can't run; "unknown" where the thing couldn't be looked at, or not whole.
        found: what was seen.
        advice: what to do; empty where there is nothing to do.
    """

    name: str
    outcome: Outcome
    found: str
    advice: str = ""
