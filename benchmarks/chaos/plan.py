"""What happens in a round: all of it is drawn from the seed before the round begins."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from faults import broker, commands, processes, stores
from stage import Stage

Fault = Callable[[Stage, random.Random], None]

#: Disturbances begin within this time.
FIRE_SECONDS = 4.5
FEWEST, MOST = 2, 5

_WORKERS: tuple[Fault, ...] = (
    processes.kill_worker, processes.kill_worker, processes.terminate_worker, processes.pause_worker,
    processes.pause_worker, processes.pause_all_workers,
)  # fmt: skip
_PRODUCERS: tuple[Fault, ...] = (processes.kill_producer, processes.terminate_producer, processes.pause_producer)
_BROKER: tuple[Fault, ...] = (
    broker.kill_broker, broker.empty_broker, broker.pause_broker, broker.flush_broker, broker.delete_keys,
    broker.delete_keys, broker.lose_messages, broker.repeat_messages, broker.send_rubbish,
)  # fmt: skip
_PEOPLE: tuple[Fault, ...] = (
    commands.retry, commands.retry, commands.retry_twice, commands.kill_retry, commands.cancel_and_enqueue,
)  # fmt: skip
_OUTPACED: tuple[Fault, ...] = (
    processes.outpace_worker, processes.outpace_worker, processes.outpace_worker, processes.outpace_producer,
)  # fmt: skip
_JOB: tuple[Fault, ...] = (
    *_WORKERS, *_OUTPACED, *_PRODUCERS, *_BROKER, *_PEOPLE, commands.second_producer, commands.second_producer,
    commands.second_job, commands.offer_another_arithmetic, commands.refuse_directory, commands.refuse_directory,
)  # fmt: skip
#: The disturbances that can happen for each way in which rows arrive.
_SCENES: dict[str, tuple[Fault, ...]] = {
    "files": (*_JOB, commands.second_job),
    "growing": (*_JOB, commands.second_producer, commands.second_producer),
    "follow": (*_JOB, processes.kill_settled_producer, processes.kill_settled_producer),
    "run": (*_WORKERS, *_PRODUCERS, processes.kill_producer, commands.second_run, commands.second_run,
            commands.cancel_and_enqueue),
}  # fmt: skip
#: How often rows arrive in each way.
_WEIGHTS = {"files": 6, "growing": 3, "follow": 3, "run": 1}
SCENES = tuple(_WEIGHTS)
_STORES: dict[str, tuple[Fault, ...]] = {
    "disk": (stores.fill_disk, stores.fill_disk),
    "bucket": (stores.storm,) * 6 + (stores.kill_server,) * 3 + (stores.kill_server_in_storm,) * 3,
}


@dataclass(frozen=True)
class Planned:
    """A disturbance to come.

    Attributes:
        moment: seconds after the disturbances begin, at the earliest.
        fault: what happens.
        rng: decides how.
    """

    moment: float
    fault: Fault
    rng: random.Random


@dataclass(frozen=True)
class Plan:
    """A round before it begins.

    Attributes:
        early: whether the disturbances begin before the first part exists.
        scene: the way in which its rows arrive.
        seconds: that a call of an engine takes at least.
        waits: whether `unrolled wait` watches the job from its beginning, and puts back what Redis loses.
        calms: whether at the end engines behave, and all failed rows are brought again.
        faults: in order.
    """

    early: bool
    scene: str
    seconds: float
    waits: bool
    calms: bool
    faults: tuple[Planned, ...]


def draw(seed: int, kind: str, scene: str | None = None) -> Plan:
    """The plan of a seed; the same for the same version of this program.

    Args:
        seed: any number.
        kind: "disk" or "bucket".
        scene: one of `SCENES`, in which its rows arrive; None to draw one.
    """
    rng = random.Random(f"{kind} {seed}")
    drawn = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    scene = scene or drawn
    moments = sorted(rng.uniform(0.3, FIRE_SECONDS) for _ in range(rng.randint(FEWEST, MOST)))
    choices = (*_SCENES[scene], *_STORES[kind])
    faults = [Planned(moment, rng.choice(choices), random.Random(rng.getrandbits(64))) for moment in moments]
    early, waits, calms = rng.random() < 0.25, rng.random() < 0.6, rng.random() < 0.5
    return Plan(early, scene, rng.uniform(0.2, 0.7), waits, calms, tuple(faults))
