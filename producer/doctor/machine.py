"""Can this machine compute as a worker's settings say?"""

# Over 150 lines: what a machine has, beside what a worker's settings ask of it.

from __future__ import annotations

import math
import os
from importlib import import_module
from typing import TYPE_CHECKING

from producer.doctor.check import Check
from unrolled.settings.machine_memory import PROC, SYS, memory_limit, text_of
from unrolled.settings.worker_options import bytes_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unrolled.model.directory import ModelDirectory

_GIB = 2**30
#: A worker needs this many times its budget, plus the weights.
_BUDGETS = 2
#: The instructions that a kernel makes a difference by, as Linux names them.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd")
_ISA_VARIABLE = "UNROLLED_ISA"


def check_machine(
    threads: int | None,
    memory_budget: int,
    model: ModelDirectory | None,
    proc: Path = PROC,
    system: Path = SYS,
) -> Iterator[Check]:
    """Look at processors, kernel, memory and huge pages.

    Args:
        threads: threads of a worker's engine; None for one on each processor.
        memory_budget: bytes of outputs that a worker may have in flight.
        model: whose weights it has in memory; None where that isn't known.
        proc: Linux's file system of processes' and processors' facts.
        system: that of devices' and control groups' facts.
    """
    cpus = usable_cpus(system)
    yield _check_kernel(proc)
    yield _check_threads(threads, cpus)
    yield _check_memory(memory_budget, model, proc, system)
    yield _check_huge_pages(system)


def usable_cpus(system: Path = SYS) -> int:
    """The processors that this process may use: those of its affinity, or fewer by its control group's quota."""
    # By name: the producer doesn't import the worker, and two countings could disagree.
    return int(import_module("worker.engines.cpus").usable_cpus(system / "fs" / "cgroup"))


def _check_kernel(proc: Path) -> Check:
    lines = text_of(proc / "cpuinfo").splitlines()
    words = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    features = [feature for feature in _FEATURES if feature in words]
    has = f"the processor has {', '.join(features)}" if features else "the processor doesn't say what it has"
    try:
        available = import_module("worker.engines.fused.library").available_isas
        kernels = [*available("float32"), *available("bfloat16")]  # some are for one of the two only
    except Exception:  # noqa: BLE001 - whatever it is, no kernel can be used, and the check of the engine says why
        return Check("kernel", "warn", f"{has}; no kernel can be used", "see what is said of the fused engine")
    forced = os.environ.get(_ISA_VARIABLE)
    if forced:
        outcome = f"{_ISA_VARIABLE} asks for {forced}"
        if forced not in kernels:
            outcome += ", which it can't run"
            if instead := _float32_instead(forced):
                return Check("kernel", "warn", f"{has}; {outcome}; float32 takes {instead}", f"unset {_ISA_VARIABLE}")
            return Check("kernel", "fail", f"{has}; {outcome}", f"unset {_ISA_VARIABLE}")
        return Check("kernel", "ok", f"{has}; {outcome}")
    best = kernels[0] if kernels else "none"
    if best in ("none", "portable"):
        return Check("kernel", "warn", f"{has}; kernel: {best}", "workers are several times slower without AVX2")
    return Check("kernel", "ok", f"{has}; kernel: {best}")


def _float32_instead(forced: str) -> str | None:
    """The kernel that float32 takes in place of one that is for other arithmetics alone; None if there is none."""
    library = import_module("worker.engines.fused.library")
    known: str | None = library.kernel_isa(forced.encode(), "float32") if forced in library.ISAS else None
    return known


def _check_threads(threads: int | None, cpus: int) -> Check:
    found = f"{threads or cpus} for a worker's engine, on {cpus} usable processors"
    if threads and threads > cpus:
        advice = f"give --threads {cpus} or less: a computation ends when its last thread does"
        return Check("threads", "warn", found, advice)
    return Check("threads", "ok", found)


def _check_memory(budget: int, model: ModelDirectory | None, proc: Path, system: Path) -> Check:
    limit = memory_limit(proc, system)
    if limit is None:
        return Check("memory", "unknown", "the operating system doesn't say how much there is")
    size, who = limit
    weights = sum(math.prod(shape) * 4 for shape in model.config.shapes().values()) if model else 0
    needed = _BUDGETS * budget + weights
    found = (
        f"{size / _GIB:.1f} GiB, by {who}; a worker with --memory-budget {bytes_text(budget)} needs up to "
        f"{needed / _GIB:.1f} GiB"
    )
    if size < budget + weights:
        return Check("memory", "fail", found, "lower --memory-budget, or raise the limit: the worker would be killed")
    if size < needed:
        return Check("memory", "warn", found, "lower --memory-budget, or raise the limit")
    return Check("memory", "ok", found)


def _check_huge_pages(system: Path) -> Check:
    text = text_of(system / "kernel/mm/transparent_hugepage/enabled")
    chosen = text.partition("[")[2].partition("]")[0]
    if not chosen:
        return Check("huge pages", "unknown", "the operating system doesn't say")
    if chosen == "never":
        advice = "set transparent_hugepage to madvise: weights and states are read in long runs"
        return Check("huge pages", "warn", "never", advice)
    return Check("huge pages", "ok", chosen)
