"""What happens to workers and producers: they are killed, stopped, or paused for longer than a lease."""

from __future__ import annotations

import contextlib
import random
import signal
import time

import psutil
from scenes import Files, Follow
from stage import Stage

from unrolled.job.names import part_object

#: Longer than a lease, with the time in which its end is noticed and its shards are computed by another.
PAUSE_SECONDS = (2.5, 5.5)
#: How long a worker that holds something is looked for.
BUSY_SECONDS = 3.0
#: How long others have to publish what a worker holds that is paused for it.
OUTPACED_SECONDS = 30.0


def kill_worker(stage: Stage, rng: random.Random) -> None:
    """Kill a worker with SIGKILL, like a crash or the kernel's out-of-memory killer."""
    for worker in _some(stage, rng, 1):
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()


def terminate_worker(stage: Stage, rng: random.Random) -> None:
    """End a worker with SIGTERM, like a rolling restart, or with two, like an impatient operator."""
    for worker in _some(stage, rng, 1):
        with contextlib.suppress(psutil.NoSuchProcess):
            stage.tell_to_end(worker)
            if rng.random() < 0.5:
                stage.rest(0.2)
                stage.tell_to_end(worker)


def pause_worker(stage: Stage, rng: random.Random) -> None:
    """Pause a worker for longer than its lease: another one takes its shards, and then it continues with them."""
    _pause(stage, rng, _some(stage, rng, 1))


def outpace_worker(stage: Stage, rng: random.Random) -> None:
    """Pause a worker until another one has published what it held; then it continues, and its attempts end otherwise.

    The messages that were sent last are delivered first meanwhile, so that it needn't be paused to the end of the job.
    """
    until, busy = time.monotonic() + BUSY_SECONDS, []
    while not busy and time.monotonic() < until:
        stage.rest(0.1)
        busy = [worker for worker in stage.workers() if stage.held_by(worker)]
    until = time.monotonic() + OUTPACED_SECONDS
    for worker in rng.sample(busy, min(1, len(busy))):
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.suspend()
            try:
                held = [stage.place / part_object(member.shard) for member in stage.held_by(worker)]
                while not all(part.exists() for part in held) and time.monotonic() < until:
                    stage.client().lmove(stage.keys.queue, stage.keys.queue, "LEFT", "RIGHT")
                    stage.rest(0.1)
            finally:
                worker.resume()


def pause_all_workers(stage: Stage, rng: random.Random) -> None:
    """Pause every worker, as when a whole machine sleeps."""
    _pause(stage, rng, stage.workers())


def kill_producer(stage: Stage, rng: random.Random) -> None:
    """Kill the producer with SIGKILL; its command is given again. Of a stream, what it has in memory may be lost."""
    del rng
    if producer := stage.scene.producer():
        if isinstance(stage.scene, Follow):
            stage.scene.before_kill(stage, settled=False)
        producer.send(signal.SIGKILL)


def kill_settled_producer(stage: Stage, rng: random.Random) -> None:
    """Kill the reader of a stream once all that was written is on the disk: then nothing may be lost."""
    del rng
    if isinstance(stage.scene, Follow):
        settled = stage.scene.settle(stage, 15)
        if producer := stage.scene.producer():
            stage.scene.before_kill(stage, settled=settled)
            producer.send(signal.SIGKILL)


def terminate_producer(stage: Stage, rng: random.Random) -> None:
    """End the producer with SIGTERM or Ctrl-C; of a stream, all that it has read is kept."""
    if producer := stage.scene.producer():
        producer.send(rng.choice((signal.SIGTERM, signal.SIGINT)))


def pause_producer(stage: Stage, rng: random.Random) -> None:
    """Pause the producer; another one may be at work meanwhile."""
    if producer := stage.scene.producer():
        producer.send(signal.SIGSTOP)
        stage.rest(rng.uniform(*PAUSE_SECONDS))
        producer.send(signal.SIGCONT)


def outpace_producer(stage: Stage, rng: random.Random) -> None:
    """Pause the producer until a second one has done its work, or taken its turn; then it continues its own."""
    del rng
    if producer := stage.scene.producer():
        producer.send(signal.SIGSTOP)
        try:
            if isinstance(stage.scene, Follow):
                stage.scene.take_over(stage)
                stage.rest(PAUSE_SECONDS[0])
            elif isinstance(stage.scene, Files):
                stage.rest_until_ended(stage.unrolled(*stage.scene.words(stage)), seconds=60)
        finally:
            producer.send(signal.SIGCONT)
        stage.rest_until_ended(producer, seconds=60)


def _pause(stage: Stage, rng: random.Random, workers: list[psutil.Process]) -> None:
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.suspend()
    stage.rest(rng.uniform(*PAUSE_SECONDS))
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.resume()


def _some(stage: Stage, rng: random.Random, count: int) -> list[psutil.Process]:
    workers = stage.workers()
    return rng.sample(workers, min(count, len(workers)))
