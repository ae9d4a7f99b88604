"""As long as nothing fails, there is a message for each shard that waits, so no shard waits for a sweep.

Promises don't show a lost message, because a sweep sends it again, a lease later.
"""

import pytest
from simulation.settings import settings
from simulation.workers import Worker
from simulation.world import World

SEEDS, AT_ONCE = 500, 100
#: Steps of a run, at most; most runs take a tenth of them.
STEPS = 6_000


@pytest.fixture(autouse=True)
def no_sweeps(monkeypatch):
    """Workers only handle messages, and no lease ends."""
    monkeypatch.setattr("support.ledger_model.LEASE", 10**9)
    monkeypatch.setattr(Worker, "_look_after", lambda _: None)


def is_done(stage):
    return not stage.ledger.ledger and not any(actor.kind == "producer" for actor in stage.scheduler.actors)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_shard_waits_for_a_sweep(first):
    """Several workers may refuse it, with several threads, while others choose it."""
    for seed in range(first, first + AT_ONCE):
        world = World(seed)
        stage = world.stage
        stage.nature.calm_down()
        stage.nature.failing = 0
        stage.may_refuse = True
        with settings(stage.rng, {job.place: job.store for job in stage.jobs}):
            try:
                for job in stage.jobs:
                    stage.start("producer", job)
                for _ in range(2):
                    stage.start_worker(may_refuse=True)
                stage.start_worker()
                steps = 0
                while not is_done(stage) and steps < STEPS:
                    stage.scheduler.move()
                    steps += 1
                ledger = stage.ledger
                assert is_done(stage), f"seed {seed}: {[*map(str, ledger.ledger)]} wait; messages: {ledger.queue}"
            finally:
                stage.scheduler.kill_all()
