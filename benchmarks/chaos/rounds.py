"""One round: a job, its disturbances, and the comparison afterwards."""

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
from unrolled.job import names
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log
from unrolled.protocol.opening import OpenJob, open_job
from unrolled.reading.outcome import failed_rows
from unrolled.store.disk.hidden_file import sweep_leftovers

COLUMNS = ("seed", "result", "seconds", "deaths", "broker_kills", "rows", "files", "dead", "looks", "faults")
#: Disturbances happen within this time; then the job must complete within the other.
FIRE_SECONDS, COMPLETION_SECONDS = 8.0, 120.0


@dataclass
class Result:
    """What came of one round."""

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
    """Run one round; its directory goes unless it failed."""
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
    """Let time pass, and start processes again that died, as a supervisor would."""
    until = time.monotonic() + seconds
    while True:
        stage.supervise()
        left = until - time.monotonic()
        if left <= 0:
            return
        threading.Event().wait(min(0.1, left))


def _compare(dataset: Dataset, job: OpenJob, watcher: Watcher, result: Result) -> None:
    log, place = Log(), Path(job.place)
    given_up = standing(log, job.objects, live=False).dead
    expected = dataset.parts
    found = {path.name: path.read_bytes() for path in place.glob("*.parquet")}
    dead = set(map(names.part_object, given_up))
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
    sweep(log, job.objects, failed_rows, live=False)  # what workers do for a job that is complete
    if (left := set(names.shards_in(job.objects.list(names.ROWS)))) != given_up:
        result.failures.append(f"rows left: {sorted(map(str, left ^ given_up))}")
    _compare_rows(dataset, place, dead, result)
    problems = [problem for problem in verify_job(job).problems if problem.where not in dead]
    result.failures += [f"verify: {problem.where}: {problem.what}" for problem in problems]
    for folder in (names.PARTS, names.FOLDER, names.LOG, names.ROWS, names.QUARANTINE, names.FAILED, names.DEAD):
        if (place / folder).is_dir():
            sweep_leftovers(place / folder, 0)
    result.failures += [f"left over: {path}" for path in place.rglob(".*") if path.is_file()]


def _compare_rows(dataset: Dataset, place: Path, dead: set[str], result: Result) -> None:
    """By the ids alone, and without any of the product's own reading: each row once."""
    published: list[str] = []
    failed: list[str] = []
    for path in place.glob("*.parquet"):
        published += pq.read_table(path, columns=["id"])["id"].to_pylist()
        failed += _failed(path)
    listed = [json.loads(line)["id"] for path in (place / names.QUARANTINE).glob("*.jsonl") for line in path.open()]
    gone: set[str] = set()
    for name in dead:
        gone |= _ids(dataset.folder / "out" / name) | {*_failed(dataset.folder / "out" / name)}
    there = sorted([*published, *failed, *listed, *gone])
    if there != sorted(dataset.ids):
        lost, twice = set(dataset.ids) - set(there), len(there) - len(set(there))
        result.failures.append(f"{len(lost)} rows lost, {twice} twice")
    if {*listed} != dataset.bad:
        result.failures.append(f"quarantine holds {sorted(listed)}")
    if {*failed} != dataset.failing - gone:
        result.failures.append(f"parts call {sorted(failed)} failed")


def _failed(path: Path) -> list[str]:
    return [row_id for _, row_id, _ in json.loads(pq.read_metadata(path).metadata[b"unrolled.failed"])]


def _ids(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["id"])["id"].to_pylist())
