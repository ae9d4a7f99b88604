"""The simulation of the protocol: no seed breaks a promise, and for every mutation a seed finds the fault."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from simulation import mutator
from simulation.digest import digest
from simulation.mutator import Hunk, Loader
from simulation.segments import BrokenPromiseError
from simulation.world import World
from support import skips

from unrolled.protocol import completion

HERE = Path(__file__).parent
#: Seeds of every run of the tests, and of one test.
SEEDS, AT_ONCE = 500, 100
#: Seeds of the long runs: new ones each time.
MANY = 100_000
#: Seeds among which a mutation must be found; most are found among the first hundred.
ENOUGH = 1_500
#: Mutations that need more seeds, so that only the long runs look for them.
RARE = {"sweep-unsynced": 50_000, "growth-unnamed": 3_000, "sweep-growth": 3_000}

#: Where the search begins for mutations that few seeds find, or that the first ones find late: near a seed that finds
#: them. After a change of the simulation another one does, and the test takes longer until these are brought up to date
#: (`python tests/simulation --mutate NAME`).
BEGINNINGS = {
    "absence-is-proof": 1195,
    "adopt-unsynced": 130,
    "append-unfenced": 153,
    "complete-unsynced": 147,
    "damaged-unsaved": 930,
    "end-apart": 273,
    "ended-unread": 454,
    "failed-from-own": 126,
    "finish-unsynced": 175,
    "job-unsynced": 163,
    "no-last-look": 9240,
    "strays-ignored": 2030,
    "told-unsynced": 40,
}


def run(seed, trace=None, crowd=()):
    """Run a seed; if it fails, show how to replay it."""
    try:
        World(seed, trace, crowd).run()
    except BrokenPromiseError as violation:
        words = ["--seed", str(seed), "--trace", *["--crowd", ",".join(crowd)][: 2 * bool(crowd)]]
        pytest.fail(f"{violation}\nStep by step: python tests/simulation {' '.join(words)}", pytrace=False)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_seed_breaks_a_promise(first):
    """Whatever is killed, paused, or answered falsely: no row is lost or repeated, and "complete" is right."""
    for seed in range(first, first + AT_ONCE):
        run(seed)


def test_no_crowd_breaks_a_promise():
    """People who give the same commands again and again, such as `retry` while others ask whether the job is done."""
    for crowd in {*mutator.CROWDS.values()}:
        for seed in range(AT_ONCE):
            run(seed, crowd=crowd)


@skips.long(f"{MANY:,} new seeds")
@pytest.mark.timeout(0)
def test_no_new_seed_breaks_a_promise():
    """Seeds that were never tried before."""
    first = int.from_bytes(os.urandom(5), "big")
    for seed in range(first, first + MANY):
        run(seed)


def simulate(*arguments, **environment):
    """The output of `python tests/simulation`."""
    command = [sys.executable, HERE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


@pytest.mark.parametrize("seed", [3, 14])
def test_a_seed_replays(seed):
    """A seed takes equal steps in another process, with another order of sets, and after other seeds."""
    steps = []
    run(seed + 1)
    run(seed, steps.append)
    for hash_seed in "1", "2":
        steps_again = simulate("--seed", seed, "--trace", PYTHONHASHSEED=hash_seed).stdout.splitlines()
        assert steps_again[: len(steps)] == steps
    assert len(steps) > 200


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[skips.long(f"{RARE[name]:,} seeds"), pytest.mark.timeout(0)] if name in RARE else [])
        for name in mutator.names()
    ],
)
def test_every_mutation_is_found(name):
    """A fault in the product breaks a promise in some seed."""
    done = simulate("--mutate", name, "--first", BEGINNINGS.get(name, 0), "--seeds", RARE.get(name, ENOUGH))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed ")


def test_a_seed_that_fails_says_how_to_see_it(monkeypatch):
    """A failure names the command that replays it."""

    def fail(_):
        raise BrokenPromiseError("a row is gone")

    monkeypatch.setattr(World, "run", fail)
    with pytest.raises(pytest.fail.Exception, match=r"a row is gone\n.*python tests/simulation --seed 7 --trace"):
        run(7)


def test_a_mutation_without_its_lines_is_an_error():
    """If the product has changed, a mutation fails instead of testing nothing."""
    loader = Loader("completion", completion.__file__, [Hunk("no such line\n", "")])
    with pytest.raises(ImportError, match="no such line"):
        loader.exec_module(ModuleType("completion"))


def test_a_digest_is_that_of_the_steps():
    """Equal for equal runs, and another for others."""
    assert digest(range(5)) == digest(range(5)) != digest(range(1, 6))
