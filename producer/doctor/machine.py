"""Can this machine compute as a worker's settings say?"""

# Over 150 lines: what a machine has, beside what a worker's settings ask of it.

from __future__ import annotations

import math
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from producer.doctor.check import Check
from unrolled.settings.worker_options import bytes_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.model.directory import ModelDirectory

_GIB = 2**30
#: A worker needs this many times its budget, plus the weights.
_BUDGETS = 2
#: The instructions that a kernel makes a difference by, as Linux names them.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd")
_ISA_VARIABLE = "UNROLLED_ISA"
#: Linux's answers; tests have their own.
_PROC, _SYS = Path("/proc"), Path("/sys")


def check_machine(
    threads: int | None,
    memory_budget: int,
    model: ModelDirectory | None,
    proc: Path = _PROC,
    system: Path = _SYS,
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


def usable_cpus(system: Path = _SYS) -> int:
    """The processors that this process may use: those of its affinity, or fewer by its control group's quota."""
    # By name: the producer doesn't import the worker, and two countings could disagree.
    return int(import_module("worker.engines.fused.cpus").usable_cpus(system / "fs" / "cgroup"))


def _check_kernel(proc: Path) -> Check:
    lines = _text(proc / "cpuinfo").splitlines()
    words = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    features = [feature for feature in _FEATURES if feature in words]
    has = f"the processor has {', '.join(features)}" if features else "the processor doesn't say what it has"
    try:
        available = import_module("worker.engines.fused.library").available_isas
        kernels = [*available("float32"), *available("bfloat16")]  # some are for one of the two only
    except Exception as error:  # noqa: BLE001 - whatever it is, no kernel can be used
        return Check("kernel", "warn", f"{has}; {error}", "the tensorflow engine, or workers elsewhere, can compute")
    forced = os.environ.get(_ISA_VARIABLE)
    if forced:
        outcome = f"{_ISA_VARIABLE} asks for {forced}"
        if forced not in kernels:
            return Check("kernel", "fail", f"{has}; {outcome}, which it can't run", f"unset {_ISA_VARIABLE}")
        return Check("kernel", "ok", f"{has}; {outcome}")
    best = kernels[0] if kernels else "none"
    if best in ("none", "portable"):
        return Check("kernel", "warn", f"{has}; kernel: {best}", "workers are several times slower without AVX2")
    return Check("kernel", "ok", f"{has}; kernel: {best}")


def _check_threads(threads: int | None, cpus: int) -> Check:
    found = f"{threads or cpus} for a worker's engine, on {cpus} usable processors"
    if threads and threads > cpus:
        advice = f"give --threads {cpus} or less: a computation ends when its last thread does"
        return Check("threads", "warn", found, advice)
    return Check("threads", "ok", found)


def _check_memory(budget: int, model: ModelDirectory | None, proc: Path, system: Path) -> Check:
    limits = {}
    words = _text(proc / "meminfo").split()
    if "MemTotal:" in words and words[words.index("MemTotal:") + 1].isdecimal():
        limits["the machine"] = int(words[words.index("MemTotal:") + 1]) * 1024
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        if (text := _text(system / "fs/cgroup" / file).strip()).isdecimal():
            limits["its control group"] = int(text)
    if not limits:
        return Check("memory", "unknown", "the operating system doesn't say how much there is")
    who = min(limits, key=lambda name: limits[name])
    weights = sum(math.prod(shape) * 4 for shape in model.config.shapes().values()) if model else 0
    needed = _BUDGETS * budget + weights
    found = (
        f"{limits[who] / _GIB:.1f} GiB, by {who}; a worker with --memory-budget {bytes_text(budget)} needs up to "
        f"{needed / _GIB:.1f} GiB"
    )
    if limits[who] < budget + weights:
        return Check("memory", "fail", found, "lower --memory-budget, or raise the limit: the worker would be killed")
    if limits[who] < needed:
        return Check("memory", "warn", found, "lower --memory-budget, or raise the limit")
    return Check("memory", "ok", found)


def _check_huge_pages(system: Path) -> Check:
    text = _text(system / "kernel/mm/transparent_hugepage/enabled")
    chosen = text.partition("[")[2].partition("]")[0]
    if not chosen:
        return Check("huge pages", "unknown", "the operating system doesn't say")
    if chosen == "never":
        advice = "set transparent_hugepage to madvise: weights and states are read in long runs"
        return Check("huge pages", "warn", "never", advice)
    return Check("huge pages", "ok", chosen)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
