"""One round: a job, its disturbances, and the comparison afterwards."""

# Over 150 lines: one round from its plan to its verdict.

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from account import Account, account_of, why_lost
from contents import waiting
from dataset import Dataset
from nursery import Nursery
from plan import FIRE_SECONDS, Plan, draw
from scenes import Follow, Growing, make_scene
from stage import NEIGHBOUR, Stage
from truth import snapshot, why_untrue
from waiter import Waiter
from watcher import Watcher

from producer.jobs.verify import verify_job
from unrolled.job import names
from unrolled.job.names import part_object
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log
from unrolled.protocol.opening import OpenJob, open_job
from unrolled.reading.outcome import failed_rows
from unrolled.store.disk.hidden_file import sweep_leftovers

#: A job must be complete within this time after its last disturbance.
COMPLETION_SECONDS = 150.0
#: The first part is waited for no longer than this.
FIRST_PART_SECONDS = 30.0
_FOLDERS = (
    names.PARTS,
    names.FOLDER,
    names.LOG,
    names.CHAPTERS,
    names.ROWS,
    names.QUARANTINE,
    names.FAILED,
    names.DEAD,
    names.TIMES,
)


@dataclass
class Result:
    """What came of one round; the columns of the table, but for the last two."""

    seed: int
    kind: str
    scene: str = ""
    result: str = "ok"
    seconds: float = 0.0
    deaths: int = 0
    overtaken: int = 0
    broker_kills: int = 0
    server_kills: int = 0
    published: int = 0
    failed: int = 0
    quarantined: int = 0
    dead: int = 0
    unread: int = 0
    parts: int = 0
    looks: int = 0
    claims: int = 0
    faults: str = ""
    failures: list[str] = field(default_factory=list)
    directory: str = ""

    def columns(self) -> dict[str, Any]:
        """Name → value."""
        return {name: value for name, value in asdict(self).items() if name not in ("failures", "directory")}


def run_round(root: Path, dataset: Dataset, kind: str, seed: int, scene: str | None) -> Result:
    """Run one round, with some scene or one that is drawn; its directory goes unless it failed."""
    folder = root / f"{kind}-{seed}"
    folder.mkdir()
    plan = draw(seed, kind, scene)
    result = Result(seed, kind, plan.scene, directory=str(folder))
    began = time.monotonic()
    try:
        with Nursery() as nursery:
            _run(nursery, folder, dataset, plan, result)
    except Exception as error:  # noqa: BLE001 - a round that can't be judged has failed, and the others go on
        result.failures.append(f"{type(error).__name__}: {error}")
    result.seconds = round(time.monotonic() - began, 1)
    if result.failures:
        result.result = "FAILED"
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _run(nursery: Nursery, folder: Path, dataset: Dataset, plan: Plan, result: Result) -> None:
    scene = make_scene(plan.scene, dataset, FIRE_SECONDS)
    rows = None if isinstance(scene, Follow) else len(dataset.lines)
    with Stage(nursery, folder, dataset, result.kind, scene, result.seed, plan.seconds) as stage:
        # A growing job is complete after each of its growths.
        known = None if isinstance(scene, Growing) else rows
        watcher = Watcher(stage.place, stage.address, known, lossy=result.kind == "bucket")
        waiter = Waiter(watcher, wanted=plan.waits)
        stage.attendants.append(waiter)
        with watcher:
            _disturb(stage, plan, result)
            waiter.wanted = True
            account = _completed(stage, waiter, rows)
            innocent = {*account.given_up} and not {*account.given_up} & dataset.killing
            if plan.calms or innocent:
                _check_rows(dataset, scene, account, result, calm=False)
                stage.calm.touch()
                result.faults += " calm"
                stage.rest_until_ended(stage.unrolled("retry", stage.out, "--failed-rows", broker=scene.has_workers))
                account = _completed(stage, waiter, rows)
        if stage.neighbour:
            _check_neighbour(stage, result)
        stage.stop()
        result.failures += [*watcher.failures, *stage.failures]
        _check_rows(dataset, scene, account, result, calm=stage.calm.exists())
        _check_place(open_job(stage.address), stage.place, watcher, result)
        result.deaths, result.broker_kills, result.server_kills = stage.deaths, stage.broker_kills, stage.server_kills
        result.overtaken = stage.overtaken()
        result.looks, result.claims = watcher.looks, watcher.claims
        if isinstance(scene, Follow):
            scene.close()


def _disturb(stage: Stage, plan: Plan, result: Result) -> None:
    began = time.monotonic()
    while not plan.early and not stage.is_at_work() and time.monotonic() < began + FIRST_PART_SECONDS:
        stage.rest(0.1)
    began = time.monotonic()
    for planned in plan.faults:
        stage.rest(max(0.0, began + planned.moment - time.monotonic()))
        result.faults = f"{result.faults} {planned.fault.__name__}".strip()
        planned.fault(stage, planned.rng)


def _completed(stage: Stage, waiter: Waiter, rows: int | None) -> Account:
    """Wait until the job is complete, and `unrolled wait` has said so; then count its rows."""
    deadline, since = time.monotonic() + COMPLETION_SECONDS, 0.0
    while True:
        stage.rest(0.1)
        now = snapshot(stage.place)
        why = "its input isn't queued" if not stage.scene.done() else why_untrue(now, now, rows)
        if stage.scene.done() and why and "cancelled" in why:
            stage.scene.requeue()  # a cancel had its effect after its command was killed
        since = (since or time.monotonic()) if why is None else 0.0
        if why is None:
            waiter.hurry()
        if why is None and waiter.said > since:
            return account_of(stage.dataset, open_job(stage.address), stage.place)
        if time.monotonic() > deadline:
            raise TimeoutError(f"not complete {COMPLETION_SECONDS:.0f} s after the last disturbance: {why}")


def _check_neighbour(stage: Stage, result: Result) -> None:
    """Wait for the other job, and count its rows."""
    deadline = time.monotonic() + COMPLETION_SECONDS
    while stage.neighbour and not stage.neighbour.done() and time.monotonic() < deadline:
        stage.rest(0.1)
    out, place = stage.out + NEIGHBOUR, Path(f"{stage.place}{NEIGHBOUR}")
    wait = stage.unrolled("wait", out, "--json", "--timeout", str(COMPLETION_SECONDS))
    stage.rest_until_ended(wait, seconds=COMPLETION_SECONDS + 30)
    if '"finished": true' not in wait.text():
        result.failures.append(f"the other job is not finished: {wait.text()[-300:]}")
        return
    address = f"{stage.address}{NEIGHBOUR}"
    account = account_of(stage.dataset, open_job(address), place)
    result.failures += [f"other job: {failure}" for failure in account.failures]
    if account.lost:
        result.failures.append(f"other job: {len(account.lost)} rows lost: {sorted(account.lost)[:5]}")


def _check_rows(dataset: Dataset, scene: object, account: Account, result: Result, *, calm: bool) -> None:
    """Each row once; where engines behave and everything was retried, each good one in a part."""
    result.failures += account.failures
    result.published, result.failed = len(account.published), len(account.failed)
    result.quarantined, result.dead = len(account.quarantined), account.dead
    result.unread, result.parts = len(account.lost), account.parts
    if isinstance(scene, Follow):
        if why := why_lost(dataset, account.lost, scene.safe, scene.kills):
            result.failures.append(why)
    elif account.lost:
        result.failures.append(f"{len(account.lost)} rows lost: {sorted(account.lost)[:5]}")
    if calm and (account.failed or account.given_up):
        gone = [*account.failed, *account.given_up]
        result.failures.append(f"{len(gone)} rows are not published after a retry in calm weather: {gone[:5]}")


def _check_place(job: OpenJob, place: Path, watcher: Watcher, result: Result) -> None:
    """By the product's own eyes: every part is sound, and nothing is left over but what dead shards need."""
    log = Log()
    dead = standing(log, job.objects, live=job.job.live).dead
    found = {path.name: path.read_bytes() for path in place.glob("*.parquet")}
    if changed := [name for name, content in watcher.first_seen.items() if found.get(name) != content]:
        result.failures.append(f"changed after they were first seen: {sorted(changed)}")
    given_up = set(map(part_object, dead))
    problems = [problem for problem in verify_job(job).problems if problem.where not in given_up]
    result.failures += [f"verify: {problem.where}: {problem.what}" for problem in problems]
    sweep(log, job.objects, failed_rows, live=job.job.live)  # what workers do for a job that is complete
    left = set(names.shards_in(job.objects.list(names.ROWS))) - dead
    if left:
        result.failures.append(f"rows left: {sorted(map(str, left))}, {len(waiting(place))} in all")
    for folder in _FOLDERS:
        if result.kind == "disk" and (place / folder).is_dir():
            sweep_leftovers(place / folder, 0)
    with contextlib.suppress(FileNotFoundError):
        hidden = [path for path in place.rglob(".*") if path.is_file() and ".localbucket" not in path.name]
        result.failures += [f"left over: {path}" for path in hidden]
