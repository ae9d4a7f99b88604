"""One round: a job, its disturbances, and the comparison afterwards.

It is one file because it is the course of one round.
"""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from dataset import Dataset
from faults import FAULTS
from stage import Stage
from watcher import Watcher
from workplace import RestartableBroker

from producer.jobs.verify import verify_job
from unrolled.job.directory import JobDirectory, open_job
from unrolled.store.hidden_file import sweep_leftovers

COLUMNS = ("seed", "result", "seconds", "deaths", "broker_kills", "rows", "files", "dead", "looks", "faults")
#: How long disturbances may begin, and how long the job may take to complete after them.
FIRE_SECONDS, COMPLETION_SECONDS = 8.0, 120.0


@dataclass
class Result:
    """The result of one round."""

    seed: int
    directory: Path
    seconds: float = 0.0
    deaths: int = 0
    broker_kills: int = 0
    rows: int = 0
    files: int = 0
    dead: int = 0
    looks: int = 0
    faults: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def columns(self) -> tuple[object, ...]:
        """The values of `COLUMNS`."""
        verdict = "FAILED" if self.failures else "ok"
        return (self.seed, verdict, round(self.seconds, 1), self.deaths, self.broker_kills, self.rows, self.files,
                self.dead, self.looks, " ".join(self.faults))  # fmt: skip


def run_round(root: Path, dataset: Dataset, seed: int) -> Result:
    """Run one round; its directory is removed unless the round failed."""
    folder = root / f"round-{seed}"
    folder.mkdir()
    result = Result(seed, folder, rows=len(dataset.ids))
    began = time.monotonic()
    try:
        _run(folder, dataset, result)
    except Exception as error:  # noqa: BLE001 - a round that can't be judged has failed, and the others go on
        result.failures.append(f"{type(error).__name__}: {error}")
    result.seconds = time.monotonic() - began
    if not result.failures:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _run(folder: Path, dataset: Dataset, result: Result) -> None:
    rng = random.Random(result.seed)
    with RestartableBroker(folder / "broker") as broker, Stage(folder, dataset, broker, rng) as stage:
        watcher = Watcher(stage.out)
        try:
            with watcher:
                _disturb(stage, rng, result)
                _await_completion(stage, result)
        finally:
            stage.stop_workers()
        result.deaths, result.broker_kills = stage.deaths, stage.broker_kills
        result.looks = watcher.looks
        result.failures += watcher.failures + stage.failures
        if stage.out.exists():
            _compare(dataset, open_job(stage.out), watcher, result)


def _disturb(stage: Stage, rng: random.Random, result: Result) -> None:
    moments = sorted(rng.uniform(0.5, FIRE_SECONDS) for _ in range(rng.randint(3, 7)))
    began = time.monotonic()
    for moment in moments:
        fault = rng.choice(FAULTS)
        _wait(stage, max(0.0, began + moment - time.monotonic()))
        result.faults.append(fault.__name__)
        fault(stage)


def _await_completion(stage: Stage, result: Result) -> None:
    deadline = time.monotonic() + COMPLETION_SECONDS
    while not stage.complete():
        if time.monotonic() > deadline:
            late = f"not complete {COMPLETION_SECONDS:.0f} s after the last disturbance"
            result.failures.append(f"{late}: {stage.describe()}")
            return
        _wait(stage, 0.2)


def _wait(stage: Stage, seconds: float) -> None:
    """Wait, and start every process again that ended, like a supervisor."""
    until = time.monotonic() + seconds
    while True:
        stage.supervise()
        left = until - time.monotonic()
        if left <= 0:
            return
        threading.Event().wait(min(0.1, left))


def _compare(dataset: Dataset, directory: JobDirectory, watcher: Watcher, result: Result) -> None:
    expected = dataset.parts
    found = {path.name: path.read_bytes() for path in directory.path.glob("*.parquet")}
    dead = {f"part-{shard}.parquet" for shard in directory.given_up()}
    result.files, result.dead = len(found), len(dead)
    allowed_dead = {name for name in expected if _ids(dataset.folder / "out" / name) & dataset.killing}
    if dead != allowed_dead:
        result.failures.append(f"dead: {sorted(dead)}, expected: {sorted(allowed_dead)}")
    if missing := expected.keys() - found.keys() - dead:
        result.failures.append(f"missing files: {sorted(missing)}")
    if stray := found.keys() - expected.keys():
        result.failures.append(f"stray files: {sorted(stray)}")
    if wrong := [name for name in found.keys() & expected.keys() if found[name] != expected[name]]:
        result.failures.append(f"other bytes than undisturbed: {sorted(wrong)}")
    if changed := [name for name, content in watcher.first_seen.items() if found.get(name) != content]:
        result.failures.append(f"changed after they were first seen: {sorted(changed)}")
    _compare_rows(dataset, directory, dead, result)
    problems = [problem for problem in verify_job(directory).problems if "dead" not in problem.what]
    result.failures += [f"verify: {problem.where}: {problem.what}" for problem in problems]
    sweep_leftovers(directory.path, 0)  # what `unrolled wait` does when a job is complete
    result.failures += [f"left over: {path}" for path in directory.path.rglob(".*.tmp")]


def _compare_rows(dataset: Dataset, directory: JobDirectory, dead: set[str], result: Result) -> None:
    """Check by the ids, without Unrolled's own reader, that each row is in one file."""
    published: list[str] = []
    for path in directory.path.glob("*.parquet"):
        published += pq.read_table(path, columns=["id"])["id"].to_pylist()
    listed = [
        json.loads(line)["id"] for path in (directory.path / "_quarantine").glob("*.jsonl") for line in path.open()
    ]
    gone: set[str] = set().union(*(_ids(dataset.folder / "out" / name) for name in dead))
    there = sorted([*published, *listed, *gone])
    if there != sorted(dataset.ids):
        lost, twice = set(dataset.ids) - set(there), len(there) - len(set(there))
        result.failures.append(f"{len(lost)} rows lost, {twice} twice")
    quarantined = {*listed} - gone
    if quarantined != (dataset.bad | dataset.failing) - gone:
        result.failures.append(f"quarantine holds {sorted(quarantined)}")


def _ids(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["id"])["id"].to_pylist())
