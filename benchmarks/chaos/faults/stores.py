"""What happens to the place of a job: a disk is full; a bucket's server is killed, paused, or goes wrong."""

from __future__ import annotations

import random

from stage import Stage


def fill_disk(stage: Stage, rng: random.Random) -> None:
    """Fill the disk of the output directory."""
    stage.fill_disk(rng.uniform(0.5, 2.5))


def kill_server(stage: Stage, rng: random.Random) -> None:
    """Kill the bucket's server with SIGKILL; it is started again on its objects."""
    if stage.server:
        stage.server_kills += 1
        stage.server.kill()
        stage.rest(rng.uniform(0.2, 2))
        stage.server.start()


def storm(stage: Stage, rng: random.Random) -> None:
    """Have the server refuse requests, lose answers, and do its work too late, for some seconds."""
    stage.storm(begins=True)
    stage.rest(rng.uniform(1, 3))
    stage.storm(begins=False)


def kill_server_in_storm(stage: Stage, rng: random.Random) -> None:
    """Kill the server while requests are under way that will have their effect later, or not any more."""
    stage.storm(begins=True)
    stage.rest(rng.uniform(0.5, 1.5))
    kill_server(stage, rng)
    stage.rest(rng.uniform(0.5, 1.5))
    stage.storm(begins=False)
