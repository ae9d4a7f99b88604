"""What people do to a job: retry, cancel and enqueue it again, two commands at once, workers that can't be used."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import psutil
from command import Command
from scenes import Files, Follow, Neighbour, Run
from stage import Stage

from producer.local.broker_record import BROKER_FILE

#: How long a command may take to say that another one is at work.
REFUSAL_SECONDS = 30.0


def retry(stage: Stage, rng: random.Random) -> None:
    """Bring dead shards again, and mostly failed rows too."""
    stage.rest_until_ended(_retry(stage, rng))


def retry_twice(stage: Stage, rng: random.Random) -> None:
    """Bring failed rows again by two commands at once."""
    stage.rest_until_ended(*(stage.unrolled("retry", stage.out, "--failed-rows") for _ in range(2)))
    del rng


def kill_retry(stage: Stage, rng: random.Random) -> None:
    """Kill a retry while it is at work, and give the command again."""
    first = _retry(stage, rng)
    stage.rest(rng.uniform(0.3, 0.8))
    first.end(signal.SIGKILL)
    stage.rest_until_ended(_retry(stage, rng))


def cancel_and_enqueue(stage: Stage, rng: random.Random) -> None:
    """Cancel the job, in half of the cases with a kill in between, and queue its input again later."""
    cancel = stage.unrolled("cancel", stage.out)
    if rng.random() < 0.5:
        stage.rest(rng.uniform(0.3, 0.8))
        cancel.end(signal.SIGKILL)
    stage.rest_until_ended(cancel)
    stage.scene.requeue()
    stage.rest(rng.uniform(0, 1))


def second_producer(stage: Stage, rng: random.Random) -> None:
    """Start the producer's command a second time while the first is at work; the two share the input."""
    if isinstance(stage.scene, Follow):
        first = stage.scene.producer()
        stage.scene.take_over(stage)
        if first:
            stage.rest_until_ended(first, seconds=60)
    elif isinstance(stage.scene, Files):
        second = stage.unrolled(*stage.scene.words(stage))
        if rng.random() < 0.3:
            stage.rest(rng.uniform(0.3, 1.5))
            second.end(signal.SIGKILL)
        stage.rest_until_ended(second, seconds=60)


def second_run(stage: Stage, rng: random.Random) -> None:
    """Start `unrolled run` a second time; where the first one lives and has a broker of its own, it is refused."""
    del rng
    if not isinstance(stage.scene, Run):
        return
    first = stage.scene.producer()
    must_refuse = first is not None and _has_recorded(first, stage.place / BROKER_FILE)
    second = stage.scene.start(stage)
    stage.rest_until_ended(second, seconds=REFUSAL_SECONDS)
    if must_refuse and first is not None and first.running and "another `unrolled run`" not in second.text():
        stage.failures.append(f"{second.log.name}: a second run was not refused while the first one lived")


def second_job(stage: Stage, rng: random.Random) -> None:
    """Queue another job of the same model: the same workers and the same ledger have both."""
    del rng
    stage.neighbour = stage.neighbour or Neighbour()


def offer_another_arithmetic(stage: Stage, rng: random.Random) -> None:
    """Start a worker that computes in bfloat16: it must leave the job alone to the end of the round."""
    del rng
    stage.worker("worker-bfloat16", UNROLLED_ARITHMETIC="bfloat16")


def refuse_directory(stage: Stage, rng: random.Random) -> None:
    """Start a worker that may not write into the job's directory: the others must have all of it."""
    del rng
    stage.worker("worker-refusing", UNROLLED_OUTPUT_ROOT="/elsewhere")


def _has_recorded(run: Command, record: Path) -> bool:
    """Whether a run has written where its own broker is, rather than one before it."""
    try:
        return record.stat().st_mtime > psutil.Process(run.process.pid).create_time()
    except (OSError, psutil.NoSuchProcess):
        return False


def _retry(stage: Stage, rng: random.Random) -> Command:
    return stage.unrolled("retry", stage.out, *(["--failed-rows"] if rng.random() < 0.8 else []))
