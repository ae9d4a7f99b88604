"""What can compute on this machine, and how fast?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from producer.doctor.check import Check
from producer.local.engine import ask_engine, has_tensorflow, why_no_tensorflow
from unrolled.errors import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator

_GIGA, _TEN = 1e9, 10


def check_engine(*, alone: bool = False) -> Iterator[Check]:
    """Look at the fused engine: which instruction set computes each arithmetic, and at which rate.

    Args:
        alone: whether no other machine can compute a job, because no broker is named.
    """
    facts = ask_engine()
    if problem := facts["problem"]:
        advice = "the tensorflow engine computes on this machine, more slowly"
        neither = why_no_tensorflow()
        if neither:
            problem = f"{problem}; and {neither}"
            other = "install TensorFlow again" if has_tensorflow() else install_command("tensorflow")
            needing = "`unrolled run`, `unrolled worker` and unrolled.load on this machine"
            advice = f"{needing} need an engine: this one, or {other}"
        yield Check("fused engine", "fail" if neither and alone else "warn", problem, advice)
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
