"""What can compute on this machine, and how fast?"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from producer.doctor.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Measuring takes a second on a busy machine.
_SECONDS = 60.0
_GIGA, _TEN = 1e9, 10


def check_engine() -> Iterator[Check]:
    """Look at the fused engine: which instruction set computes each arithmetic, and at which rate."""
    facts = _ask()
    if problem := facts["problem"]:
        advice = "only `unrolled run`, `unrolled worker` and unrolled.load on this machine need it"
        yield Check("fused engine", "warn", problem, advice)
        return
    for arithmetic, found in facts["arithmetics"].items():
        yield _check_arithmetic(arithmetic, found)
    yield Check("matrix units", "ok", f"not used: {facts['tiles']}" if facts["tiles"] else "AMX")


def _check_arithmetic(arithmetic: str, found: dict[str, Any] | None) -> Check:
    name = f"fused engine in {arithmetic}"
    if found is None:
        return Check(name, "warn", "this machine doesn't have the instruction set in UNROLLED_ISA", "unset it")
    threads = found["threads"]
    giga = found["rate"] / _GIGA
    rate = (
        f"{found['isa']}, {giga:,.{0 if giga > _TEN else 1}f} GFLOP/s on {threads} thread{'s' if threads > 1 else ''}"
    )
    if arithmetic == "bfloat16x3" and found["isa"] != "amx":
        return Check(name, "ok", f"{rate}, with --emulate", "without matrix units, float32 is faster and more exact")
    return Check(name, "ok", rate)


@cache
def _ask() -> dict[str, Any]:
    """What the engine says of itself, in a process of its own: it is the worker's, of which nothing is imported."""
    command = [sys.executable, "-P", "-m", "worker.engines.fused"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        facts: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {"problem": "it is not installed here, or can't be asked"}
    return facts
