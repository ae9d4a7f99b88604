"""A plan beside the fact: what `unrolled plan --json` said, and what the job turned out to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unrolled.errors import RequestError
from unrolled.job.job import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A plan takes some kilobytes; a longer file is something else.
_LONGEST_BYTES = 1 << 24


class Beside(NamedTuple):
    """One figure of a job.

    Attributes:
        name: "rows", "tokens", "bytes" or "seconds".
        planned: what the plan said.
        error: how far it said that may be off; None where it didn't know.
        fact: what it was.
        at_least: whether the error may be larger, because only the beginnings of some inputs were read.
    """

    name: str
    planned: float
    error: float | None
    fact: float
    at_least: bool = False

    @property
    def off(self) -> float | None:
        """How much more was planned than it was, as a share of the fact; None where the fact is 0."""
        return (self.planned - self.fact) / self.fact if self.fact else None


def read_plan(path: str | Path) -> dict[str, Any]:
    """Read a file that `unrolled plan --json` wrote.

    Raises:
        RequestError: it can't be read, or is no plan.
    """
    try:
        with Path(path).open("rb") as file:
            found = json.loads(file.read(_LONGEST_BYTES))
        str(found["model"])
        if found["format_version"] != 1:
            raise RequestError(f"{path}: a plan of another version; make it again with `unrolled plan --json`")
        planned_job(found)
        beside(found, dict.fromkeys(("rows", "tokens", "bytes", "seconds"), 1.0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, StopIteration) as error:
        raise RequestError(f"{path}: is not a plan of `unrolled plan --json` ({error})") from error
    plan: dict[str, Any] = found
    return plan


def planned_job(plan: Mapping[str, Any]) -> Job | None:
    """The job that a plan is of; None where an earlier release made the plan, which doesn't say.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the plan describes no job.
    """
    return Job.from_json(plan["job"]) if "job" in plan else None


def beside(plan: Mapping[str, Any], facts: Mapping[str, float]) -> list[Beside]:
    """The figures of a plan beside those of its job.

    Args:
        plan: what `read_plan` gives.
        facts: "rows" (good ones), "tokens" (real ones), "bytes" (of the parts) and "seconds" (from the first row that
            is computed to the last part, without pauses), as far as they are known.
    """
    chosen = next(choice for choice in plan["choices"] if choice["chosen"])
    planned = {"rows": plan["rows"]["rows"], "tokens": plan["rows"]["tokens"], "bytes": chosen["size"]}
    if times := plan["times"]:
        total = times["total"]
        planned["seconds"] = {**total, "value": max(0.0, total["value"] - times["start"])}
    is_begun = bool(plan.get("input", {}).get("from_the_start"))
    return [
        Beside(
            name,
            float(found["value"]),
            None if found["error"] is None else float(found["error"]),
            facts[name],
            at_least=is_begun and name != "seconds",
        )
        for name, found in planned.items()
        if name in facts and found["value"] is not None
    ]
