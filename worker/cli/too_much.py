"""Options that ask for more than the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.settings.machine_memory import memory_limit
from unrolled.settings.worker_options import bytes_text
from worker.engines.cpus import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings

_GIB = 2**30


def too_much(settings: Settings, cpus: int | None = None, memory: tuple[int, str] | None = None) -> Iterator[str]:
    """One line for each option that asks for more than the machine has; `unrolled doctor` checks more.

    Args:
        settings: of a worker.
        cpus: usable processors; None for those of this process.
        memory: from `memory_limit`; None for that of this process.
    """
    cpus = cpus or usable_cpus()
    if settings.threads and settings.threads > cpus:
        yield (
            f"--threads {settings.threads}: {cpus} processors can be used; with more threads, each computation waits "
            "for those that have no processor"
        )
    memory = memory or memory_limit()
    if memory and settings.memory_budget > memory[0]:
        yield (
            f"--memory-budget {bytes_text(settings.memory_budget)}: there are {memory[0] / _GIB:.1f} GiB, by "
            f"{memory[1]}; a worker that uses its budget will be killed"
        )
