"""The status of a job as text for people, and as JSON for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from producer.jobs.diagnosis import diagnose
from producer.terminal.text import duration, figure
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.jobs.status import JobStatus
    from producer.queue.worker_status import WorkerStatus
    from unrolled.job.offer import Offer


def as_line(found: JobStatus, **facts: object) -> str:
    """The status as JSON on one line, with more facts."""
    more = {"complete": found.complete, "waiting": found.waiting, "seconds_left": found.seconds_left, **facts}
    return json_text({**asdict(found), **more, "diagnosis": list(diagnose(found).values())})


def report(found: JobStatus, width: int | None = None) -> str:
    """The status as text for people.

    Args:
        found: what to show.
        width: cells of a line; None for what `producer.terminal.table.table` takes then.
    """
    head, advice = f"{found.out}: {found.state}; job {found.job}", [f"→ {line}" for line in diagnose(found).values()]
    if found.discarded:
        return "\n".join([head, *advice])
    more = "" if found.ended else " read so far"
    moving = found.tokens_per_second and found.waiting and not found.stands_still
    speed = f", {figure(found.tokens_per_second or 0)} tokens/s" if moving else ""
    left = f", {duration(found.seconds_left)} left" if found.seconds_left is not None else ""
    bad = found.quarantined + found.failed
    split = f"{found.waiting:,} waiting"
    if found.cancelled:
        running = found.queue.running if found.queue and not found.queue.original else 0
        split = f"{f'{running:,} running, ' if running else ''}{found.waiting - running:,} cancelled"
    elif found.queue:
        missing = f", {found.queue.missing:,} not in Redis" if found.queue.missing else ""
        split = f"{found.queue.running:,} running, {found.queue.queued:,} queued{missing}"
    lines = [
        f"{head}, {found.offer.describe()}",
        f"rows    {found.rows_published:,} of {found.rows:,}{more} published, {bad:,} in quarantine",
        f"tokens  {found.tokens_done:,} of {found.tokens:,}{speed}{left}",
        f"shards  {found.done:,} done, {split}, {found.dead:,} dead, of {found.shards:,}",
    ]
    if found.queue and found.queue.workers:
        lines += _tables(found.queue.workers, found.offer, width)
    return "\n".join(lines + advice)


def _tables(workers: Sequence[WorkerStatus], offer: Offer, width: int | None) -> list[str]:
    """Lines about the workers, and about the time of those that have computed, summed over their threads."""
    from producer.terminal.table import table  # noqa: PLC0415 - most reports need no rich

    about = [
        (
            worker.name,
            "this job's" if worker.offer == offer else worker.offer.describe() if worker.offer else "?",
            f"silent for {duration(worker.silent_seconds)}"
            if worker.is_late
            else f"{duration(worker.silent_seconds)} ago",
            figure(worker.tokens_per_second),
            f"{100 * worker.busy_share:.0f} %",
            worker.held,
        )
        for worker in workers
    ]
    lines = ["", table(("worker", "offers", "seen", "tokens/s when busy", "busy", "shards"), about, width)]
    lines += [f"{worker.name} has computed {worker.long_pool}" for worker in workers if worker.long_pool]
    times = [
        (
            worker.name,
            duration(worker.read_seconds),
            duration(worker.plan_seconds),
            duration(worker.compute_seconds),
            duration(worker.write_seconds),
            f"{100 * worker.computed_share:.0f} % of tokens"
            if worker.computed_share <= 1
            else f"{worker.computed_share:.1f} steps a token",  # with padding
        )
        for worker in workers
        if worker.computed_share
    ]
    if times:
        lines += ["", table(("worker", "read", "plan", "compute", "write", "computed"), times, width)]
    return lines
