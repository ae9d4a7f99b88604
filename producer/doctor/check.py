"""The checks of `unrolled doctor`: one module for each thing that is looked at."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        outcome: "fail" is what a job can't run with; "unknown" is what couldn't be looked at.
        found: what was seen.
        advice: what to do, empty where nothing is to be done.
    """

    name: str
    outcome: Outcome
    found: str
    advice: str = ""
