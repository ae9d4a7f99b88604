"""`unrolled doctor`."""

# Over 150 lines: one command, and its checks in the order in which they are printed.

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from celery import Celery

from producer.cli.exit_status import ExitStatus
from producer.cli.options import broker_option, json_option, namespace_option
from producer.cli.values import NonEmptyText
from producer.doctor.broker import SOCKET_SECONDS, check_broker, check_keys, check_writes
from producer.doctor.bucket import check_bucket
from producer.doctor.check import Check
from producer.doctor.engine import check_engine
from producer.doctor.job_place import check_place
from producer.doctor.machine import check_machine
from producer.doctor.metrics_port import check_metrics_port
from producer.doctor.model import check_model
from producer.doctor.output import check_output
from producer.doctor.software import check_software
from producer.doctor.workers import check_workers
from producer.local.broker_record import find_broker
from producer.queue.queue_status import why_silent
from producer.queue.worker_status import WorkerStatus
from unrolled.errors import BrokerError, BrokerRefusesError, OptionError, TransientError, UnrolledError, printable
from unrolled.job import names
from unrolled.job.offer import SHORT
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker
from unrolled.queue.broker_url import celery_url
from unrolled.queue.ledger import alive_workers
from unrolled.queue.messages import transport_options
from unrolled.settings.flags import flags
from unrolled.settings.worker_options import WorkerOptions
from unrolled.store.bucket_url import is_url
from unrolled.store.disk.path_limits import refuse_impossible
from unrolled.store.disk.refusals import READING, explained
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.job.offer import Offer
    from unrolled.protocol.opening import OpenJob

#: How long workers have to answer Celery's remote control.
REMOTE_CONTROL_SECONDS = 1.5
_NAME_IT = "name it with --broker redis://HOST:6379/0 or in the variable UNROLLED_BROKER"
_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "unknown": ("?", "cyan")}


@click.command()
@broker_option
@namespace_option
@click.option(
    "--model",
    type=click.Path(readable=False, path_type=Path),
    metavar="DIR",
    help="A model directory, or URL of one in a bucket.",
)
@click.option("--out", type=NonEmptyText(), metavar="DIR", help="Same as PLACE.")
@click.argument("place", type=NonEmptyText(), required=False)
@flags(WorkerOptions, ("threads", "memory_budget", "metrics_port", "metrics_address"))
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    *,
    broker: str | None,
    namespace: str,
    model: Path | None,
    out: str | None,
    place: str | None,
    threads: int | None,
    memory_budget: int,
    metrics_port: int | None,
    metrics_address: str,
    as_json: bool,
) -> None:
    """Check broker, workers, model and output directory or bucket.

    PLACE is an output directory, which need not exist yet, or the URL of a prefix in a bucket. In a bucket, one object
    is created and deleted again; nothing else is changed. Each line says what was found and what should be done. Run
    this on the machine of a worker, with the worker's options, to check that machine too. The exit status is 1 if a job
    couldn't run.

    \b
    Examples:
      unrolled doctor --broker redis://localhost:6379/0
      unrolled doctor OUT --broker redis://localhost:6379/0 --model MODEL
      unrolled doctor s3://my-bucket/vectors
      unrolled doctor --json | jq '.checks[] | select(.outcome != "ok")'
    """
    # Over 40 lines: one command, most of it its options and its help text.
    if out is not None and place is not None:
        raise OptionError(f"both {place} and --out {out} are given; give one of them")
    out = place or out
    if out is not None and not is_url(out):
        refuse_impossible(out)
    job, in_the_way = _job_in(out)
    checks = []
    machine = WorkerOptions(
        threads=threads, memory_budget=memory_budget, metrics_port=metrics_port, metrics_address=metrics_address
    )
    for check in chain(in_the_way, examine(broker, namespace, model, out, job, machine)):
        checks.append(check)
        if not as_json:
            click.echo(line(check))
    failed = any(check.outcome == "fail" for check in checks)
    if as_json:
        click.echo(json_text({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    context.exit(ExitStatus.FAILED if failed else ExitStatus.DONE)


def line(check: Check) -> str:
    """One check as text for people; a terminal shows its sign in colour."""
    sign, colour = _SIGNS[check.outcome]
    advice = f"\n    → {printable(check.advice)}" if check.advice else ""
    return f"{click.style(sign, fg=colour)} {check.name}: {printable(check.found)}{advice}"


def _job_in(out: str | None) -> tuple[OpenJob | None, list[Check]]:
    """The job in an output directory or bucket, None where none can be read now; and what is in the way on a disk.

    Raises:
        JobError: what is there is no job that this version can read.
    """
    if out is None:
        return None, []
    if is_url(out):
        with suppress(UnrolledError):  # why is among the checks of the bucket
            return open_job(out), []
        return None, []
    path = Path(out) / names.JOB
    try:
        with explained(f"read {path}", READING):
            there = path.exists()
        return open_job(out) if there else None, []
    except TransientError as error:
        found, _, advice = str(error).rpartition("; ")
        return None, [Check("job", "fail", found, advice)]


def examine(
    named: str | None,
    namespace: str,
    model: Path | None,
    out: str | None,
    job: OpenJob | None,
    worker: WorkerOptions,
) -> Iterator[Check]:
    """All checks on what is named, and on this machine for a worker with these settings."""
    yield from check_software()
    yield from check_engine(alone=_broker(named, job) is None)
    opened = None
    if model:
        opened, checks = check_model(model)
        yield from checks
    if opened and job and opened.fingerprint != job.job.fingerprint:
        yield _another_model(job, opened.fingerprint)
        opened = None
    yield from check_machine(worker.threads, worker.memory_budget, opened)
    if worker.metrics_port is not None:
        yield from check_metrics_port(worker.metrics_port, worker.metrics_address)
    if out:
        yield from check_bucket(out) if is_url(out) else check_output(Path(out), opened)
    broker = _broker(named, job)
    if not broker:
        yield Check("broker", "unknown", "none is named", _NAME_IT)
        return
    for check in _examine_broker(broker, namespace, job, opened.fingerprint if opened else None):
        if check.outcome != "ok" and _broker(named, job) != broker:
            yield Check("broker", "unknown", f"that of the `unrolled run` of {out} has ended meanwhile", _NAME_IT)
            return
        yield check


def _broker(named: str | None, job: OpenJob | None) -> str | None:
    """The URL of the broker that is looked at; that of a run, which isn't named, may end at any time."""
    return named if job is None else find_broker(named, job.place)


def _examine_broker(broker: str, namespace: str, job: OpenJob | None, fingerprint: str | None) -> Iterator[Check]:
    server = Broker(broker, SOCKET_SECONDS)
    reached = True
    for check in check_broker(server):
        reached = reached and not (check.name == "broker" and check.outcome == "fail")
        yield check
    if reached:
        yield from check_keys(server, namespace)
        yield from check_writes(server, namespace)
        offer: Offer | str | None = fingerprint
        if job:
            offer = job.job.offer
            yield from check_place(server, namespace, job)
        yield from _examine_workers(broker, server, namespace, offer, job.key if job else None)


def _another_model(job: OpenJob, fingerprint: str) -> Check:
    """What `run` and `enqueue` would refuse."""
    found = f"{job.place} is of model {job.job.fingerprint[:SHORT]}…, and --model is {fingerprint[:SHORT]}…"
    return Check("job", "fail", found, "name the job's model, or another output directory")


def _examine_workers(
    broker: str, server: Broker, namespace: str, offer: Offer | str | None, job_key: str | None
) -> Iterator[Check]:
    try:
        with server.asked():
            facts = alive_workers(server.client, namespace)
            silent = why_silent(server.client, namespace)
    except BrokerError as error:
        is_final = isinstance(error, BrokerRefusesError)  # then a job is refused, too
        yield Check(
            "workers",
            "fail" if is_final else "unknown",
            f"the list of workers can't be read: {error.found}",
            error.advice,
        )
        return
    workers = [WorkerStatus.parse(name, fact) for name, fact in sorted(facts.items())]
    stats = _celery_stats(broker, namespace) if workers and not silent else None
    yield from check_workers(workers, offer, stats, job_key, silent)


def _celery_stats(broker: str, namespace: str) -> dict[str, Any] | None:
    """The workers' answers through Celery's remote control; None where none may or can answer."""
    app = Celery("unrolled-doctor", broker=celery_url(broker), set_as_current=False)
    app.conf.broker_transport_options = transport_options(namespace)
    try:
        found: dict[str, Any] | None = app.control.inspect(timeout=REMOTE_CONTROL_SECONDS).stats()
    except Exception:  # noqa: BLE001 - forbidden, unanswered and cut off are treated alike
        return None
    finally:
        app.close()
    return found
