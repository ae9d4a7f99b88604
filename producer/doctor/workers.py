"""Can the running workers do the work?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from producer.doctor.check import Check
from producer.terminal.text import duration, printable
from unrolled.queue.messages import SHORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from producer.jobs.worker_status import WorkerStatus

_SLOW_SHARD_SECONDS = 600.0
_SHORT_LEASE_SECONDS = 10.0
_THREADS = "celery.concurrency.thread:TaskPool"


def check_workers(
    workers: Sequence[WorkerStatus], fingerprint: str | None, stats: Mapping[str, Any] | None
) -> Iterator[Check]:
    """Look at the running workers.

    Args:
        workers: all that run.
        fingerprint: of the model that they must serve; None for any.
        stats: the answers to Celery's remote control, by worker; None where it couldn't be asked.
    """
    serving = [worker for worker in workers if fingerprint in (None, worker.model)]
    what = f"model {fingerprint[:SHORT]}…" if fingerprint else "any model"
    if not serving:
        others = f", {len(workers)} of other models" if workers else ""
        yield Check("workers", "warn", f"none serves {what}{others}", "start one: unrolled worker --model DIR")
    else:
        yield Check(
            "workers",
            "ok",
            f"{len(serving)} serve {what}: {printable(', '.join(w.name for w in serving[:5]))}",
        )
        yield _check_leases(serving)
    if workers:
        yield _check_pools(stats)


def _check_leases(workers: Sequence[WorkerStatus]) -> Check:
    longest = max(worker.longest_seconds for worker in workers)
    leases = [worker.lease_seconds for worker in workers if worker.lease_seconds]
    found = f"the longest shard on board has taken {duration(longest)}"
    if leases:
        found += f", leases last {duration(min(leases))} and are renewed while a worker lives"
    if leases and min(leases) < _SHORT_LEASE_SECONDS:
        advice = f"a pause of the machine can outlast it; give --lease-seconds {_SHORT_LEASE_SECONDS:.0f} or more"
        return Check("leases", "warn", found, advice)
    if longest > _SLOW_SHARD_SECONDS:
        return Check(
            "leases",
            "warn",
            found,
            "if its worker dies, it takes as long again; cut smaller shards with --shard-tokens",
        )
    return Check("leases", "ok", found)


def _check_pools(stats: Mapping[str, Any] | None) -> Check:
    pools = {
        str(facts.get("pool", {}).get("implementation")) for facts in (stats or {}).values() if isinstance(facts, dict)
    }
    if not pools:
        return Check(
            "worker pool",
            "unknown",
            "no worker answered Celery's remote control",
            "the broker's ACL may forbid it",
        )
    if wrong := pools - {_THREADS}:
        found = printable(", ".join(sorted(wrong)))
        return Check("worker pool", "fail", found, "start workers with `unrolled worker`, or celery's --pool threads")
    return Check("worker pool", "ok", "threads")
