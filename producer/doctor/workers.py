"""Can those alive do the work?"""

# Over 150 lines: all that is checked of workers, a function for each.

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from producer.doctor.check import Check
from producer.doctor.machine import usable_cpus
from producer.terminal.text import duration
from unrolled.errors import printable
from unrolled.job.offer import SHORT, Offer
from unrolled.queue.messages import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from producer.queue.worker_status import WorkerStatus

_SLOW_SHARD_SECONDS = 600.0
_SHORT_LEASE_SECONDS = 10.0
#: The latest ones: a full disk is in the way of each part.
_MOST_TROUBLES = 3
#: The engine and the arithmetic that a job asks for, unless its user names others.
_USUAL = ("fused", "float32")
_THREADS = "celery.concurrency.thread:TaskPool"


def check_workers(
    workers: Sequence[WorkerStatus],
    offer: Offer | str | None,
    stats: Mapping[str, Any] | None,
    job_key: str | None = None,
    why_silent: tuple[str, str] | None = None,
) -> Iterator[Check]:
    """Whether those alive can do the work.

    Args:
        workers: all that the broker has heard of lately; those that have been silent for a lease don't count as alive.
        offer: what must be offered; a fingerprint for a model in any arithmetic, None for anything.
        stats: what Celery's remote control answered, by worker; None where it couldn't be asked.
        job_key: of the job whose directory was named; None for what is in the way of any.
        why_silent: why the broker takes no worker's word, and what to do; None if it takes it.
    """
    silent = [worker for worker in workers if worker.is_lost and _serves(worker, offer)]
    workers = [worker for worker in workers if not worker.is_lost]
    serving = [worker for worker in workers if _serves(worker, offer)]
    what = offer.describe() if isinstance(offer, Offer) else f"model {offer[:SHORT]}…" if offer else "any model"
    if not serving and why_silent:
        why, advice = why_silent
        found = f"none says that it offers {what}; the broker {why}, so workers that are alive can't say so"
        yield Check("workers", "unknown", found, advice)
    elif not serving:
        others = f", {len(workers)} for other jobs" if workers else ""
        how = f" --engine {offer.engine} --arithmetic {offer.arithmetic}" if isinstance(offer, Offer) else ""
        others += f"; {_names(silent)} did, last heard of {_age(silent)} ago" if silent else ""
        yield Check("workers", "warn", f"none offers {what}{others}", f"start one: unrolled worker --model DIR{how}")
    else:
        yield _check_serving(serving, offer, what, why_silent)
        yield _check_leases(serving)
        yield from _check_crowd(workers)
        yield from _check_troubles(serving, job_key)
    if workers and not why_silent:
        yield _check_pools(stats, any(worker.is_late for worker in workers))


def _check_serving(
    workers: Sequence[WorkerStatus], offer: Offer | str | None, what: str, why_silent: tuple[str, str] | None
) -> Check:
    """Whether those that offer what is asked for are well, and compute what a job asks for that names nothing else."""
    found = f"{len(workers)} offer {what}: {_names(workers)}"
    if late := [worker for worker in workers if worker.is_late]:
        advice = "such a worker is dead, hangs, or can't reach the broker; its log says more"
        if why_silent:
            advice = f"the broker {why_silent[0]}, so workers that are alive can't say so; {why_silent[1]}"
        return Check("workers", "warn", f"{found}; no sign of life from {_names(late)} for {_age(late)}", advice)
    offers = {(worker.offer.engine, worker.offer.arithmetic) for worker in workers if worker.offer}
    if isinstance(offer, str) and _USUAL not in offers:
        only = ", ".join(f"{arithmetic} by {engine}" for engine, arithmetic in sorted(offers))
        queue, start = (f"--engine {engine} --arithmetic {arithmetic}" for engine, arithmetic in (min(offers), _USUAL))
        advice = f"queue jobs with {queue}, or start a worker with {start}"
        return Check("workers", "warn", f"{found}, but only in {only}", advice)
    return Check("workers", "ok", found)


def _serves(worker: WorkerStatus, offer: Offer | str | None) -> bool:
    return offer in (None, worker.offer, worker.offer and worker.offer.fingerprint)


def _names(workers: Sequence[WorkerStatus]) -> str:
    return printable(", ".join(worker.name for worker in workers[:5]))


def _age(workers: Sequence[WorkerStatus]) -> str:
    """How long ago the last one of silent workers was heard of."""
    return duration(min(worker.silent_seconds for worker in workers))


def _check_crowd(workers: Sequence[WorkerStatus]) -> Iterator[Check]:
    """Whether the workers of this machine, those that show a sign of life, have more threads than it has processors."""
    own = f"{socket.gethostname()}-"
    here = [worker for worker in workers if worker.name.startswith(own) and worker.threads and not worker.is_late]
    threads, cpus = sum(worker.threads or 0 for worker in here), usable_cpus()
    if len(here) > 1 and threads > cpus:
        found = f"{len(here)} on this machine have {threads} threads together, on {cpus} usable processors"
        fewer = f"give each --threads {max(1, cpus // len(here))}, or run fewer" if threads > len(here) else "run fewer"
        yield Check("workers' threads", "warn", found, fewer)


def _check_troubles(workers: Sequence[WorkerStatus], job_key: str | None) -> Iterator[Check]:
    """What is in the way of those that could compute the job, as they have said themselves."""
    lines, free = dict[str, list[str]](), 0
    for worker in workers:
        found = dict.fromkeys(text for about, text in worker.troubles if job_key is None or about in (None, job_key))
        free += all(text.startswith(UNSEEN) for text in found)  # which is about one shard
        for text in found:
            lines.setdefault(text, []).append(worker.name)
    if lines:
        few = [f"{text} (worker {', '.join(names[:3])})" for text, names in list(lines.items())[-_MOST_TROUBLES:]]
        if more := len(lines) - len(few):
            few.append(f"and {more} more")
        advice = "see to it on the workers' machines" if free else "as long as it lasts, no worker computes the job"
        if all(text.startswith(UNSEEN) for text in lines):
            advice = "other shards are computed; `unrolled status` of the job says what brings these rows back"
        # Of a job that isn't named, another worker's trouble may be none.
        yield Check(
            "workers' troubles", "warn" if free or job_key is None else "fail", printable("; ".join(few)), advice
        )


def _check_leases(workers: Sequence[WorkerStatus]) -> Check:
    longest = max(worker.longest_seconds for worker in workers)
    leases = [worker.lease_seconds for worker in workers if worker.lease_seconds]
    # By what workers say every few seconds; one that died since may have had others.
    held = f"the oldest shard that a worker says it holds has taken {duration(longest)}"
    found = held if any(worker.on_board for worker in workers) else "no worker says that it holds a shard"
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
            "if a worker dies, as much time is lost; make smaller shards: --shard-tokens",
        )
    return Check("leases", "ok", found)


def _check_pools(stats: Mapping[str, Any] | None, is_late: bool) -> Check:
    pools = {
        str(facts.get("pool", {}).get("implementation")) for facts in (stats or {}).values() if isinstance(facts, dict)
    }
    if not pools:
        return Check(
            "worker pool",
            "unknown",
            "no worker answered Celery's remote control",
            "a worker that hangs answers nothing; or ACL forbids it"
            if is_late
            else "ACL may forbid it, or they start, end, or are busy: ask again",
        )
    if wrong := pools - {_THREADS}:
        found = printable(", ".join(sorted(wrong)))
        return Check("worker pool", "fail", found, "start workers with `unrolled worker`, or celery's --pool threads")
    return Check("worker pool", "ok", "threads")
