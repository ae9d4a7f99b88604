"""The numbers of processors and of cores that this process may use."""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_PROCESSORS = Path("/sys/devices/system/cpu")


def threads_for(isa: str) -> int:
    """The number of threads with which an instruction set computes fastest.

    A core has one set of matrix units, and a tile is loaded three to four times as slowly while both hyperthreads of
    the core load tiles. So with tiles it is one thread for each core.
    """
    cpus = usable_cpus()
    return min(cpus, usable_cores()) if isa == "amx" else cpus


def usable_cores(processors: Path = _PROCESSORS) -> int:
    """The cores of the processors in the affinity mask; hyperthreads of one core count once."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = set()
    for cpu in affinity(0) if affinity else range(os.cpu_count() or 1):
        try:
            cores.add((processors / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def allowed_cpus() -> int:
    """The processors in the affinity mask."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """The processors in the affinity mask, or fewer if a container's CPU quota is lower; at least 1."""
    cpus, quota = allowed_cpus(), _quota(cgroup)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """The CPU quota in processors, of control groups version 2 or else 1; None if there is no quota."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        quota = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return None  # "max" is no quota
    return quota if quota > 0 else None  # and so is -1, in version 1
