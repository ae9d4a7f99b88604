"""The outcome of a shard, whatever happens to it."""

import contextlib
import json
import logging
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.counting_engine import expected_outputs, expected_pooled
from support.jobs import decide, record_death
from support.processes import (
    NAMESPACE,
    UNITS,
    check_outputs,
    eventually,
    failed_ids,
    left,
    leftovers,
    make_rows,
    open_site,
    worker_parts,
)

from producer.jobs.verify import verify_job
from producer.sources.rows import Row
from unrolled.errors import BrokenWorkerError, TransientError
from unrolled.format.columns import column_name
from unrolled.job import names, payload
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.names import Life, dead_object, failed_object, part_object, rows_object
from unrolled.job.offer import Offer
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.patience import ATTEMPTS, Patience
from unrolled.protocol.opening import create_job
from unrolled.queue.ledger import Ledger
from unrolled.queue.member import Member
from unrolled.reading.dataset import open_dataset
from unrolled.reading.outcome import read_outcome
from unrolled.store import posix
from worker.errors import AwayError
from worker.pool.buffers import Buffers
from worker.runtime import attempt, job_place
from worker.runtime.job_place import patience_of
from worker.runtime.outcome import Outcome

FOREIGN = "f" * 64


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


@pytest.fixture
def parts(site):
    with worker_parts(site) as assembly:
        yield assembly


@pytest.fixture
def small_disk(site):
    """A file system of 512 KiB at the place of the job "out"; root may mount one."""
    place = site.root / "out"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(
            "machine: only root may mount a small file system; test_worker_process limits a file's size instead"
        )
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def only_shard(job):
    (shard,) = left(job)
    return shard


def path_of(job, name):
    return job.objects.store.path / name


def enter(site, job, shard):
    """Enter the first life of a shard in the ledger, whatever its mark is."""
    mark = site.ledger.mark(job.key)
    return site.ledger.enter(job.key, job.address, mark, [(member_of(job, shard), 10)], mark or 1)


def member_of(job, shard):
    return Member(job.key, Life(shard, 0))


def entered(site, job):
    """Shards of a job in the ledger, and those under a lease."""
    in_ledger, leased = site.ledger.members(job.key)
    return {life.shard for life in in_ledger}, {life.shard for life in leased}


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def dead_reason(job, shard):
    return json.loads(job.objects.read(dead_object(Life(shard, 0))))["reason"]


def waits(job, shard):
    """Whether the rows of a shard exist."""
    return job.objects.exists(rows_object(shard))


def handle(parts, job, shard):
    return parts.service.handle(member_of(job, shard).encode())


def in_background(threads, parts, job, shard):
    return threads.submit(handle, parts, job, shard)


def test_a_shard_is_published_then_gone(site, parts):
    """Its file is right, nothing of it waits any more, and the next message finds nothing to do."""
    rows = make_rows(3)
    job = site.enqueue(rows, rows_per_shard=3)
    shard = only_shard(job)
    assert handle(parts, job, shard) == Outcome.PUBLISHED
    check_outputs(job, rows)
    assert (left(job), entered(site, job)) == (set(), (set(), set()))
    assert handle(parts, job, shard) == Outcome.GONE
    assert len(site.calls()) == 1


def test_a_shard_of_empty_rows_is_published(site, parts):
    """Rows without a real token have no output, but they have a row."""
    rows = make_rows(3)
    rows = [Row(row.file, row.position, row.id, row.tokens * 0) for row in rows]
    job = site.enqueue(rows, rows_per_shard=3)
    assert handle(parts, job, only_shard(job)) == Outcome.PUBLISHED
    check_outputs(job, rows)


def test_a_shard_that_another_worker_holds_is_left_alone(site, parts):
    """Nothing is read or computed."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    site.ledger.claim(member_of(job, shard), "another")
    assert handle(parts, job, shard) == Outcome.HELD
    assert site.calls() == []
    assert parts.service.board.held() == {}


def test_publishing_twice_leaves_the_same_bytes(site, parts):
    """After a worker died with the part published and the shard still in the ledger, or with the part lost."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    rows = job.objects.read(rows_object(shard))
    handle(parts, job, shard)
    before = job.objects.read(part_object(shard))
    for lost in (False, True):
        job.objects.create(rows_object(shard), rows)
        enter(site, job, shard)
        if lost:
            job.objects.delete(part_object(shard))
        assert handle(parts, job, shard) == Outcome.PUBLISHED
        assert job.objects.read(part_object(shard)) == before
        assert left(job) == set()
    assert len(site.calls()) == 2  # not where the file was there


@settings(max_examples=50)
@given(st.one_of(st.none(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=3), max_size=2)))
def test_a_hostile_hint_is_dropped(value):
    """Any value in place of a job key or a life: nothing but a line in the log."""
    with HOSTILE_PARTS as parts:
        assert parts.service.handle([value, "000000-0123456789ab.0"]) == Outcome.DROPPED
        assert parts.service.handle(["0" * 16, value]) == Outcome.DROPPED


class _Once:
    """One worker's parts for all examples, made at the first."""

    parts = None

    def __enter__(self):
        return self.parts

    def __exit__(self, *_):
        return None


HOSTILE_PARTS = _Once()


@pytest.fixture(autouse=True)
def _hostile_parts(request):
    if "hostile_hint" in request.node.name:
        HOSTILE_PARTS.parts = request.getfixturevalue("parts")


DAMAGE = {
    "others than its name says": lambda content: (
        content[: payload.HEADER_BYTES - 32] + bytes(32) + content[payload.HEADER_BYTES :]
    ),
    "the file has": lambda content: content[:-1],
    "is damaged": lambda content: content[:-1] + b"\xff",
    "not a payload": lambda content: b"PK" + content[2:],
    "the file has 0 bytes": lambda _: b"",
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_damaged_rows_make_a_dead_shard(site, parts, reason):
    """The reason is on record, and the next shard is computed; the same command cuts the rows again."""
    rows = make_rows(4)
    job = site.enqueue(rows)
    shard, other = sorted(left(job))
    damaged = path_of(job, rows_object(shard))
    damaged.write_bytes(DAMAGE[reason](damaged.read_bytes()))
    assert handle(parts, job, shard) == Outcome.GIVEN_UP
    assert reason in dead_reason(job, shard)
    assert damaged.exists()
    assert entered(site, job)[0] == {other}
    assert handle(parts, job, other) == Outcome.PUBLISHED
    check_outputs(job, rows, without={0, 1})
    assert site.starts().keys() == {2, 3}
    site.enqueue(rows)
    assert parts.service.handle(Member(job.key, Life(shard, 1)).encode()) == Outcome.PUBLISHED
    check_outputs(job, rows)
    assert verify_job(job).problems == ()


def test_no_death_is_recorded_for_rows_that_cannot_be_seen(site, parts, caplog):
    """A cache may lag: the shard waits in the ledger without a lease, blameless, and is computed once they are seen."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    shard = only_shard(job)
    path = path_of(job, rows_object(shard))
    path.rename(path.with_name("away"))
    assert handle(parts, job, shard) == Outcome.PUT_OFF
    assert "neither the rows nor the part of shard" in warnings_in(caplog)[0]
    assert entered(site, job) == ({shard}, set())
    assert list(job.objects.list(names.DEAD)) == []
    path.with_name("away").rename(path)
    assert not site.ledger.claim(member_of(job, shard), parts.service.holder).suspect
    assert handle(parts, job, shard) == Outcome.PUBLISHED
    check_outputs(job, rows)


@pytest.mark.parametrize("kind", ["cancel", "discard"])
def test_a_shard_of_a_stopped_job_is_let_go(site, parts, kind):
    """The process that stopped the job died before it updated the ledger: the worker that finds no rows does it."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    decide(job, Segment(kind))
    job.objects.delete(rows_object(shard))
    assert handle(parts, job, shard) == Outcome.GONE
    assert entered(site, job) == (set(), set())
    assert list(job.objects.list(names.DEAD)) == []


@pytest.mark.parametrize("place", ["rows", "part"])
def test_what_is_no_file_holds_no_thread(site, parts, place):
    """A FIFO where a file must be: the shard is put off, and the next one is computed."""
    rows = make_rows(4)
    job = site.enqueue(rows)
    shard, other = sorted(left(job))
    path = path_of(job, rows_object(shard) if place == "rows" else part_object(shard))
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert handle(parts, job, shard) == Outcome.PUT_OFF
    assert handle(parts, job, other) == Outcome.PUBLISHED
    assert entered(site, job) == ({shard}, set())


def test_nothing_is_written_through_a_symbolic_link(site, parts):
    """A folder of the job that leads elsewhere: no record of death is made there, and no rows are deleted there."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    elsewhere = site.root / "elsewhere"
    rows = path_of(job, names.ROWS)
    rows.rename(elsewhere)
    rows.symlink_to(elsewhere)
    assert handle(parts, job, shard) == Outcome.PUT_OFF
    assert [path.name for path in elsewhere.iterdir()] == [f"{shard}.rows"]
    (elsewhere / f"{shard}.rows").write_bytes(b"damaged")
    path_of(job, part_object(shard)).unlink()
    path_of(job, names.DEAD).symlink_to(elsewhere)
    assert handle(parts, job, shard) == Outcome.PUT_OFF
    assert [path.name for path in elsewhere.iterdir()] == [f"{shard}.rows"]


def test_a_damaged_part_is_put_off(site, parts, caplog):
    """It is no outcome: nothing is deleted because of it, and nothing replaces it."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    job.objects.create(part_object(shard), b"PAR1 half")
    assert handle(parts, job, shard) == Outcome.PUT_OFF
    assert part_object(shard) in warnings_in(caplog)[0]
    assert left(job) == {shard}
    assert job.objects.read(part_object(shard)) == b"PAR1 half"
    assert entered(site, job) == ({shard}, set())


def test_a_death_is_of_one_life(site, parts):
    """The next life of a shard is computed, whatever the record of the first one says, after any message."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    shard = only_shard(job)
    record_death(job, shard)
    site.ledger.remove(member_of(job, shard))
    decide(job, Segment("retry", lives=(Life(shard, 1),)))
    second = Member(job.key, Life(shard, 1))
    mark = site.ledger.mark(job.key)
    site.ledger.enter(job.key, job.address, mark, [(second, 10)], mark + 1)
    assert handle(parts, job, shard) == Outcome.PUBLISHED
    assert parts.service.handle(second.encode()) == Outcome.GONE
    check_outputs(job, rows)


def test_a_token_that_the_model_does_not_know_makes_a_dead_shard(site, parts):
    """It never reaches the engine; the text names it and what is allowed."""
    rows = make_rows(1)
    rows[0].tokens[1] = 60_001
    job = site.enqueue(rows)
    shard = only_shard(job)
    assert handle(parts, job, shard) == Outcome.GIVEN_UP
    assert "token id 60001; the model knows 1 to 60000" in dead_reason(job, shard)
    assert waits(job, shard)
    assert site.calls() == []


@pytest.mark.parametrize("pooling", [["mean"], ["none", "max", "first"], ["mean", "max", "last", "first"]])
def test_what_the_job_stores_is_published(site, parts, pooling):
    """Every column of every row, and the token ids where they are asked for."""
    rows = make_rows(5)
    job = site.enqueue(rows, rows_per_shard=5, pooling=pooling, layers=[0], with_tokens=True)
    assert handle(parts, job, only_shard(job)) == Outcome.PUBLISHED
    found = list(open_dataset(job.place))
    assert [row.id for row in found] == [row.id for row in rows]
    for row, source in zip(found, rows, strict=True):
        states = expected_outputs(source.tokens, UNITS)
        assert row.tokens.tolist() == source.tokens.tolist()
        assert set(row.vectors) == {column_name(name, 0) for name in pooling}
        for name in pooling:
            expected = states if name == "none" else expected_pooled(states, name)
            np.testing.assert_array_equal(row[column_name(name, 0)], expected)
    assert verify_job(job).problems == ()


def test_jobs_that_store_other_things_share_a_worker(site):
    """Their shards wait together and go into the engine apart."""
    rows = make_rows(4)
    plain = site.enqueue(rows, rows_per_shard=1, name="plain")
    pooled = site.enqueue(rows, rows_per_shard=1, name="pooled", pooling=["mean"])
    with ThreadPoolExecutor(8) as threads, worker_parts(site, site.with_plan(gate=str(site.gate))) as parts:
        futures = [
            in_background(threads, parts, job, shard)
            for shards in zip(sorted(left(plain)), sorted(left(pooled)), strict=True)
            for job, shard in zip((plain, pooled), shards, strict=True)
        ]
        eventually(lambda: len(parts.service.board.held()) == 8, "all on board")
        site.gate.touch()
        assert {future.result(60) for future in futures} == {Outcome.PUBLISHED}
    check_outputs(plain, rows)
    for row, source in zip(open_dataset(pooled.place), rows, strict=True):
        np.testing.assert_array_equal(row["mean"], expected_pooled(expected_outputs(source.tokens, UNITS), "mean"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pooling": "mean"}, "pooling is 'mean'; allowed: one or more of none, mean"),
        ({"pooling": [["mean"]] * 10_000}, "allowed: one or more of none, mean"),
        ({"layers": [10**30]}, "allowed: None"),
        ({"layers": [1]}, "layer 1 is asked for, the model has 1"),
        ({"precision": {"float32": 1}}, "allowed: float32 or float16"),
        ({"with_tokens": "yes"}, "allowed: true or false"),
        ({"empty_rows": "nan"}, "allowed: null or zeros"),
    ],
)
def test_what_cannot_be_stored_makes_a_dead_shard(site, parts, options, text):
    """A log that anybody may have written is checked before memory is taken or anything computed."""
    job = site.enqueue(make_rows(2), **options)
    shard = only_shard(job)
    assert handle(parts, job, shard) == Outcome.GIVEN_UP
    assert text in dead_reason(job, shard)
    assert len(dead_reason(job, shard)) < 1_000
    assert site.calls() == []


@pytest.mark.parametrize(("pooling", "together"), [(["none"], 1), (["mean"], 2), (["none", "mean"], 1)])
def test_the_budget_counts_what_the_columns_weigh(site, pooling, together):
    """Two shards of 600 KiB in vectors of tokens don't fit into 1 MiB; their pooled vectors are 16 bytes a row."""
    rows = [Row("rows", number, f"rows#{number}", np.ones(38_400, np.int32)) for number in range(2)]
    job = site.enqueue(rows, rows_per_shard=1, pooling=pooling)
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(2) as threads, worker_parts(site, plan, memory_budget=2**20) as parts:
        futures = [in_background(threads, parts, job, shard) for shard in sorted(left(job))]
        eventually(lambda: len(parts.service.board.held()) == 2, "both claimed")
        eventually(lambda: site.calls() and parts.service._admission._on_board == together, "those that fit admitted")
        assert parts.service._admission._on_board == together
        site.gate.touch()
        assert {future.result(60) for future in futures} == {Outcome.PUBLISHED}


@pytest.mark.parametrize(
    "change", [{"fingerprint": FOREIGN}, {"arithmetic": "bfloat16"}, {"engine": "tensorflow"}], ids=str
)
def test_a_job_of_another_offer_is_refused(site, parts, caplog, change):
    """Whatever the queue says: nothing is computed, and nothing is written in the stranger's place."""
    asked = Job(site.model.fingerprint, Inputs.named(["x"]), "fused", "float32", live=False, options={})
    job = create_job(site.root / "theirs", replace(asked, **change))
    shard = ShardId(0, "0123456789ab")
    enter(site, job, shard)
    before = sorted((site.root / "theirs").rglob("*"))
    assert handle(parts, job, shard) == Outcome.REFUSED
    (text,) = warnings_in(caplog)
    assert job.job.offer.describe() in text
    assert site.offer.describe() in text
    assert sorted((site.root / "theirs").rglob("*")) == before
    assert site.calls() == []


def test_a_directory_outside_of_the_root_is_refused(site, caplog):
    """Nothing is written there; the text names the root."""
    job = site.enqueue(make_rows(2))
    with worker_parts(site, output_root=site.root / "below") as parts:
        assert handle(parts, job, only_shard(job)) == Outcome.REFUSED
    assert "--output-root" in warnings_in(caplog)[0]
    assert list(job.objects.list(names.PARTS)) == list(job.objects.list(names.DEAD)) == []
    assert site.ledger.counts().shards == 1, "a worker that is set up rightly must still find it"


def test_a_job_that_redis_has_lost_is_put_off(site, parts):
    """No worker knows where it is, so its message isn't passed from one to the next."""
    job = site.enqueue(make_rows(2))
    site.ledger.client.hdel(site.ledger.keys.jobs, job.key)
    waiting = site.ledger.client.llen(site.queue_key)
    assert handle(parts, job, only_shard(job)) == Outcome.PUT_OFF
    assert site.ledger.client.llen(site.queue_key) == waiting


def test_a_hostile_job_entry_stops_no_other(site, parts):
    """Whatever Redis says of one job, the shards of another are computed, and the worker holds nothing."""
    places = [b"\xff", b"{}", b'{"place": "/etc"}', b'{"place": "/a\\u0000"}', b'{"place": "ftp://x"}', b"[" * 9999]
    for number, raw in enumerate(places):
        member = Member(f"{number:016x}", Life(ShardId(0, "0123456789ab"), 0))
        site.ledger.enter(member.job_key, "x", None, [(member, 10)], 1)
        site.ledger.client.hset(site.ledger.keys.jobs, member.job_key, raw)
        assert parts.service.handle(member.encode()) in {Outcome.REFUSED, Outcome.PUT_OFF}
    rows = make_rows(2)
    job = site.enqueue(rows)
    shard = only_shard(job)
    eventually(lambda: handle(parts, job, shard) == Outcome.PUBLISHED, "a message in its turn")
    assert site.ledger.counts().running == 0


@pytest.mark.parametrize("tokens", [b"-1000000", b"abc", b"", b"1e300", b"1000000000000"])
def test_a_lie_about_a_shards_size_costs_nothing(site, tokens):
    """Memory is taken for what will be read, not for what the ledger says."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    shard = only_shard(job)
    site.ledger.client.hset(site.ledger.keys.tokens, str(member_of(job, shard)), tokens)
    with worker_parts(site) as parts:
        assert handle(parts, job, shard) == Outcome.PUBLISHED
        assert parts.service._admission._used == 0


def test_a_full_disk_is_waited_for(site, small_disk, caplog, monkeypatch):
    """One line when it fills, one when there is room; the file is whole, and no temporary one is left.

    No other job has shards, so the computed ones are kept, however long it takes.
    """
    monkeypatch.setattr(job_place, "GIVE_WAY_SECONDS", 0.0)
    rows = make_rows(400, length=20)
    job = site.enqueue(rows, rows_per_shard=200)
    filler = fill(small_disk)
    with ThreadPoolExecutor(2) as threads, worker_parts(site) as parts:
        futures = [in_background(threads, parts, job, shard) for shard in left(job)]
        eventually(lambda: warnings_in(caplog), "the line")
        eventually(lambda: site.ledger.counts().running == 2, "both held")
        assert "No space left" in warnings_in(caplog)[0]
        assert "free some space" in warnings_in(caplog)[0]
        filler.unlink()
        assert [future.result(60) for future in futures] == [Outcome.PUBLISHED] * 2
    assert len(warnings_in(caplog)) == 2
    assert "again" in warnings_in(caplog)[1]
    check_outputs(job, rows)
    assert leftovers(job) == []
    assert len(site.calls()) <= 2  # what was computed was kept


def fill(disk):
    """Leave no room on a file system; the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk_of_one_job_does_not_stop_the_others(site, small_disk, caplog, monkeypatch):
    """All threads hold shards of the first job when the second comes; its shards don't wait for room on that disk."""
    monkeypatch.setattr(job_place, "GIVE_WAY_SECONDS", 0.3)
    rows, others = make_rows(400, length=20), make_rows(8)
    job = site.enqueue(rows, rows_per_shard=200)
    filler = fill(small_disk)
    with ThreadPoolExecutor(2) as threads, worker_parts(site) as parts:
        held = [in_background(threads, parts, job, shard) for shard in left(job)]
        eventually(lambda: site.ledger.counts().running == 2 and warnings_in(caplog), "both held, and the line")
        other = site.enqueue(others, name="other")
        assert [future.result(60) for future in held] == [Outcome.REFUSED] * 2
        eventually(lambda: handle(parts, other, min(left(other))) and not left(other), "the other job's shards")
        check_outputs(other, others)
        (why,) = parts.service.put_off().values()
        assert "can't write to" in why
        assert "No space left" in why
        filler.unlink()
        eventually(lambda: handle(parts, job, min(left(job))) and not left(job), "the first job's shards")
        assert parts.service.put_off() == {}
    assert "left to other workers" in warnings_in(caplog)[1]
    assert "can be used again" in warnings_in(caplog)[-1]
    check_outputs(job, rows)
    assert leftovers(job) == []


def test_what_a_silent_store_was_waited_for_counts(site, monkeypatch):
    """It fails only after a while; then other jobs have waited for long enough."""
    monkeypatch.setattr(job_place, "GIVE_WAY_SECONDS", 0.2)
    job, tries = site.enqueue(make_rows(2)), []

    def hang():
        tries.append(time.monotonic())
        threading.Event().wait(0.3)
        raise TransientError("no answer in time")

    steadily = patience_of(job, Patience(print), lambda: True)
    with pytest.raises(AwayError, match="can't write a part: no answer in time"):
        steadily("write a part", hang)
    assert len(tries) == 1


def test_a_worker_that_can_not_write_gives_way_to_one_that_may(site, small_disk, monkeypatch):
    """What fails on one machine may work on another; but shards don't wander among workers that have all failed."""
    monkeypatch.setattr(job_place, "GIVE_WAY_SECONDS", 0.3)
    job = site.enqueue(make_rows(400, length=20), rows_per_shard=200)
    filler = fill(small_disk)
    free = {"concurrency": 2, "on_board": 1, "troubles": [["f" * 16, "another job's"], [None, "a general one"]]}
    in_trouble = free | {"troubles": [[job.key, "can't write to it"]]}
    hopeless = [in_trouble, free | {"on_board": 2}, {"concurrency": 2}, {"troubles": 3}]
    with ThreadPoolExecutor(2) as threads, worker_parts(site) as parts:
        for number, facts in enumerate(hopeless):
            site.ledger.beat(f"host-{number}", facts)
        Ledger(site.ledger.client, NAMESPACE, Offer(job.job.fingerprint, "fused", "bfloat16")).beat("other", free)
        held = [in_background(threads, parts, job, shard) for shard in left(job)]
        eventually(lambda: site.ledger.counts().running == 2, "both held")
        assert wait(held, 1.5)[0] == set()
        site.ledger.beat("well", free)
        assert [future.result(60) for future in held] == [Outcome.REFUSED] * 2
        filler.unlink()
        eventually(lambda: handle(parts, job, min(left(job))) and not left(job), "the shards")


def test_a_job_whose_opening_fails_unforeseen_is_left_with_its_reason(site, monkeypatch):
    """The shard isn't kept until its lease expires, and `status` gets the reason."""
    job = site.enqueue(make_rows(2))

    def fails(*_):
        raise RuntimeError("no home directory")

    with worker_parts(site) as parts:
        monkeypatch.setattr(parts.service.jobs, "find", fails)
        assert handle(parts, job, only_shard(job)) == Outcome.REFUSED
        assert site.ledger.counts().running == 0
        assert parts.service.put_off() == {job.key: "its job can't be opened: RuntimeError: no home directory"}


def test_a_read_only_disk_is_waited_for(site, small_disk, caplog):
    """A shard is held until the file system is writable again."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    with ThreadPoolExecutor(1) as threads, worker_parts(site) as parts:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        future = in_background(threads, parts, job, only_shard(job))
        eventually(lambda: warnings_in(caplog), "the line")
        assert "mount it writable" in warnings_in(caplog)[0]
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        assert future.result(60) == Outcome.PUBLISHED
    check_outputs(job, rows)


@pytest.mark.parametrize("when", ["before", "while it is computed"])
def test_a_directory_that_is_gone_holds_up_no_other(site, caplog, when):
    """Its shards are refused with one line, wait in the ledger without a lease, and are published when it is back."""
    rows = make_rows(4)
    job = site.enqueue(rows)
    out, away = site.root / "out", site.root / "away"
    shards = sorted(left(job))
    plan = site.with_plan(gate=str(site.gate)) if when != "before" else None
    with ThreadPoolExecutor(2) as threads, worker_parts(site, plan) as parts:
        if when == "before":
            out.rename(away)
        futures = [in_background(threads, parts, job, shard) for shard in shards]
        if when != "before":
            eventually(site.calls, "the engine at work")
            out.rename(away)
            site.gate.touch()
        assert {future.result(60) for future in futures} <= {Outcome.REFUSED, Outcome.PASSED_ON}
        assert len(warnings_in(caplog)) == 1
        assert entered(site, job) == (set(shards), set())
        away.rename(out)
        for shard in shards:
            eventually(lambda shard=shard: handle(parts, job, shard) == Outcome.PUBLISHED, "the next try")
        assert len(warnings_in(caplog)) == 2
    check_outputs(job, rows)


def test_stopping_gives_back_what_is_on_board(site):
    """Its message is sent again, the lease is gone, and it is no suspect."""
    sent = []
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(1) as threads, worker_parts(site, plan, sent.append) as parts:
        future = in_background(threads, parts, job, shard)
        eventually(site.calls, "the engine at work")
        assert parts.service.board.held().keys() == {member_of(job, shard)}
        parts.service.stop()
        assert future.result(60) == Outcome.GIVEN_BACK
        parts.service.board.wait_until_empty()
    assert sent == [member_of(job, shard)]
    assert entered(site, job) == ({shard}, set())
    assert not site.ledger.claim(member_of(job, shard), "next").suspect


@contextlib.contextmanager
def at_work(site, **options):
    """A worker whose engine computes a shard until the end of the block, and what becomes of the shard."""
    job = site.enqueue(make_rows(2))
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(1) as threads, worker_parts(site, plan, **options) as parts:
        future = in_background(threads, parts, job, only_shard(job))
        eventually(site.calls, "the engine at work")
        yield parts, future
        site.gate.touch()


def no_thread(_):
    raise RuntimeError("can't start new thread")


def no_memory(_):
    raise MemoryError


def test_a_timer_that_can_not_be_made_leaves_the_grace(site, monkeypatch):
    """The shards have it from the moment at which there is memory again."""
    with at_work(site, grace_seconds=600) as (parts, future):
        with monkeypatch.context() as short:
            short.setattr(threading.Timer, "__init__", lambda *_: no_memory(None))
            parts.begin_stopping()
        stopping = threading.Thread(target=parts.stop)
        stopping.start()
        site.gate.touch()
        assert future.result(60) == Outcome.PUBLISHED
        stopping.join(60)


@pytest.mark.parametrize("refused", [no_thread, no_memory])
def test_a_worker_stops_where_no_thread_can_be_started(refused, site, monkeypatch):
    """As under a limit of memory: it gives back what it holds, without a grace."""
    with at_work(site, grace_seconds=600) as (parts, future):
        monkeypatch.setattr(threading.Timer, "start", refused)
        parts.begin_stopping()  # as a signal does
        assert parts.service.board.held()
        stopping = threading.Thread(target=parts.stop)
        stopping.start()
        assert future.result(60) == Outcome.GIVEN_BACK
        site.gate.touch()
        stopping.join(60)


def test_a_second_signal_without_a_thread_leaves_the_grace_of_the_first(site, monkeypatch):
    with at_work(site, grace_seconds=1) as (parts, future):
        parts.begin_stopping()
        monkeypatch.setattr(threading.Timer, "start", no_thread)
        parts.begin_stopping()
        assert future.result(60) == Outcome.GIVEN_BACK


@pytest.mark.parametrize("moment", ["__init__", "start"])
def test_a_second_signal_while_the_first_is_answered_gives_back_at_once(moment, site, monkeypatch):
    """A signal's handler may be interrupted by another's."""
    with at_work(site, grace_seconds=600) as (parts, future):
        whole = getattr(threading.Timer, moment)

        def interrupted(*given):
            monkeypatch.setattr(threading.Timer, moment, whole)
            whole(*given)
            parts.begin_stopping()

        monkeypatch.setattr(threading.Timer, moment, interrupted)
        parts.begin_stopping()
        assert future.result(60) == Outcome.GIVEN_BACK


def test_a_second_signal_while_the_timer_is_cancelled_blocks_nothing(site, monkeypatch):
    """The lock that the timer is cancelled with isn't taken twice by one thread."""
    with at_work(site, grace_seconds=600) as (parts, future):
        whole = threading.Timer.cancel

        def interrupted(timer):
            monkeypatch.setattr(threading.Timer, "cancel", whole)
            with timer.finished._cond:
                parts.begin_stopping()
            whole(timer)

        monkeypatch.setattr(threading.Timer, "cancel", interrupted)
        parts.begin_stopping()
        stopping = threading.Thread(target=parts.stop, daemon=True)
        stopping.start()
        site.gate.touch()
        assert future.result(60) == Outcome.PUBLISHED
        stopping.join(20)
        assert not stopping.is_alive()


def test_stopping_ends_the_wait_for_the_broker(site, broker, caplog):
    """A message that can't be looked up is left where it is: in the ledger."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    with ThreadPoolExecutor(1) as threads, worker_parts(site) as parts:
        broker.kill()
        future = in_background(threads, parts, job, shard)
        eventually(lambda: any("reach the broker" in text for text in warnings_in(caplog)), "the line")
        parts.service.stop()
        assert future.result(60) == Outcome.LEFT
        broker.start()
    assert entered(site, job)[0] == {shard}


def test_a_broken_engine_gives_back_and_is_reported_once(site, caplog):
    """Every shard of its pool is blameless, and the worker is asked to stop a single time."""
    job = site.enqueue(make_rows(8))
    first, *others = sorted(left(job))
    plan = site.with_plan(gate=str(site.gate), breaks_on=[3])
    with ThreadPoolExecutor(4) as threads, worker_parts(site, plan) as parts:
        in_background(threads, parts, job, first)
        eventually(site.calls, "the engine at work")
        futures = [in_background(threads, parts, job, shard) for shard in others]
        eventually(lambda: len(parts._pool._waiting) == 3, "the others in the pool")
        site.gate.touch()
        assert {future.result(60) for future in futures} == {Outcome.GIVEN_BACK}
        assert isinstance(parts.broken, BrokenWorkerError)
    assert [record.levelno for record in caplog.records].count(logging.CRITICAL) == 1
    for shard in others:
        assert not site.ledger.claim(member_of(job, shard), "next").suspect


def die(site, member, times):
    """Leave the traces of workers that died with a shard on board: first in company, then alone."""
    for number in range(times):
        ledger = Ledger(site.ledger.client, "test", site.offer, lease_seconds=0.0)
        assert ledger.claim(member, f"victim-{number}").state == "taken"
        if number:
            ledger.start_alone(member)


@pytest.mark.parametrize(("deaths", "outcome"), [(1, Outcome.PUBLISHED), (3, Outcome.PUBLISHED), (4, Outcome.GIVEN_UP)])
def test_a_killer_is_given_up_after_its_lonely_deaths(site, parts, deaths, outcome):
    """One death in company and max_attempts alone; until then it is tried again, alone."""
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    die(site, member_of(job, shard), deaths)
    assert handle(parts, job, shard) == outcome
    assert entered(site, job) == (set(), set())
    if outcome == "given up":
        assert "died 3 times while it computed this shard alone" in dead_reason(job, shard)
        assert waits(job, shard)
        assert site.calls() == []


def test_a_suspect_runs_alone(site):
    """While it is on board no other shard is in the engine, and those that wait follow it."""
    job = site.enqueue(make_rows(6))
    suspect, *others = sorted(left(job))
    die(site, member_of(job, suspect), 1)
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(3) as threads, worker_parts(site, plan) as parts:
        first = in_background(threads, parts, job, suspect)
        eventually(site.calls, "the suspect in the engine")
        rest = [in_background(threads, parts, job, shard) for shard in others]
        eventually(lambda: len(parts.service.board.held()) == 3, "the others on board")
        assert [shards for _, shards in site.calls()] == [[[1, 2]]]
        site.gate.touch()
        assert {future.result(60) for future in [first, *rest]} == {Outcome.PUBLISHED}
    assert all([1, 2] not in shards for _, shards in site.calls()[1:])


def test_failed_rows_are_named_and_the_rest_is_published(site, parts_that_fail):
    """The part says which and why, and their tokens are kept for `unrolled retry --failed-rows`."""
    rows = make_rows(4)
    job = site.enqueue(rows, rows_per_shard=4)
    assert handle(parts_that_fail, job, only_shard(job)) == Outcome.PUBLISHED
    check_outputs(job, rows, without={2})
    assert failed_ids(job) == ["rows#2"]
    (shard,) = names.parts_in(job.objects.list(names.PARTS))
    kept = payload.decode(job.objects.read(failed_object(shard)))
    assert kept.ids.to_pylist() == ["rows#2"]
    assert kept.tokens.values.tolist() == rows[2].tokens.tolist()


def test_a_row_beyond_float16_fails_alone(site, parts):
    """The part names it with the number and the remedy; its neighbours are published, and the shard isn't dead."""
    rows = make_rows(4)
    rows[2] = rows[2]._replace(tokens=np.array([1_000, 33_558], np.int32))  # the engine makes 65,519 to 65,522 of it
    job = site.enqueue(rows, rows_per_shard=4, precision="float16")
    assert handle(parts, job, only_shard(job)) == Outcome.PUBLISHED
    assert [row.id for row in open_dataset(job.place)] == ["rows#0", "rows#1", "rows#3"]
    assert failed_ids(job) == ["rows#2"]
    (shard,) = names.parts_in(job.objects.list(names.PARTS))
    (failed,) = read_outcome(job.objects, shard).failed
    assert "outputs has the number 65522; float16 ends at 65504" in failed.reason
    assert verify_job(job).problems == ()
    assert verify_job(job).failed == 1


@pytest.fixture
def parts_that_fail(site):
    with worker_parts(site, site.with_plan(fails_on=[3])) as assembly:
        yield assembly


class Short(Buffers):
    """Has no memory, some times."""

    def __init__(self, times):
        super().__init__(2**20)
        self.times = times

    def take(self, *shape):
        if self.times:
            self.times -= 1
            raise MemoryError
        return super().take(*shape)


@pytest.mark.parametrize(("times", "outcome"), [(ATTEMPTS - 1, Outcome.PUBLISHED), (99, Outcome.GIVEN_UP)])
def test_memory_that_is_short_for_a_while_costs_no_shard(site, parts, times, outcome):
    """It is waited for, as long as a few attempts take; then the shard is dead, with the reason, and can be retried."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    shard = only_shard(job)
    parts._pool._buffers = Short(times)
    assert handle(parts, job, shard) == outcome
    if outcome == "published":
        check_outputs(job, rows)
    else:
        assert dead_reason(job, shard) == "MemoryError"
        assert waits(job, shard)


def test_two_deliveries_at_once_are_computed_once(site):
    """The second one finds the shard held by the first."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    shard = only_shard(job)
    barrier = threading.Barrier(8)

    def deliver(parts):
        barrier.wait()
        return handle(parts, job, shard)

    with ThreadPoolExecutor(8) as threads, worker_parts(site) as parts:
        outcomes = list(threads.map(deliver, [parts] * 8))
    assert outcomes.count(Outcome.PUBLISHED) == 1
    assert set(outcomes) <= {Outcome.PUBLISHED, Outcome.HELD, Outcome.GONE}
    assert set(site.starts().values()) == {1}
    assert left(job) == set()


def published_lines(caplog, job, shard):
    return caplog.messages.count(f"{member_of(job, shard)} is published")


def test_a_part_whose_creation_seemed_to_fail_is_counted(site, parts, caplog, monkeypatch):
    """The next try finds it; no other attempt will count it."""
    caplog.set_level(logging.INFO)
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    sync, failures = posix.sync_directory, []

    def sync_once_failing(directory):
        if not failures and job.objects.exists(part_object(shard)):
            failures.append(directory)
            raise TransientError("Input/output error")
        sync(directory)

    monkeypatch.setattr(posix, "sync_directory", sync_once_failing)
    assert handle(parts, job, shard) == Outcome.PUBLISHED
    assert len(failures) == published_lines(caplog, job, shard) == 1
    assert parts._metrics.snapshot()["shards"] == 1
    assert (left(job), entered(site, job)) == (set(), (set(), set()))


def test_a_worker_that_stood_still_does_not_count_what_another_published(site, caplog, monkeypatch):
    """Neither where it looks for the part later, nor where it has computed the shard too, as below."""
    caplog.set_level(logging.INFO)
    job = site.enqueue(make_rows(2))
    shard = only_shard(job)
    still, goes_on, look = threading.Event(), threading.Event(), attempt.look

    def look_late(*arguments):
        if not still.is_set():
            still.set()
            assert goes_on.wait(60)
        return look(*arguments)

    monkeypatch.setattr(attempt, "look", look_late)
    with ThreadPoolExecutor(1) as threads, worker_parts(site) as one, worker_parts(site) as other:
        late = in_background(threads, one, job, shard)
        assert still.wait(60)
        site.ledger.client.delete(site.ledger.keys.leases)  # as if its lease had run out under it
        assert handle(other, job, shard) == Outcome.PUBLISHED
        goes_on.set()
        assert late.result(60) == Outcome.GONE
        assert [parts._metrics.snapshot()["shards"] for parts in (one, other)] == [0, 1]
    assert published_lines(caplog, job, shard) == 1


@pytest.mark.parametrize("first", ["the one that fails on a row", "the one that fails on none"])
def test_two_workers_that_disagree_on_a_shard(site, caplog, first):
    """Both live, both think that they have it, and their engines fail on other rows: each row has one outcome."""
    caplog.set_level(logging.INFO)
    rows = make_rows(4)
    job = site.enqueue(rows, rows_per_shard=4)
    shard = only_shard(job)
    gates = {"the one that fails on a row": site.root / "gate-a", "the one that fails on none": site.root / "gate-b"}
    plans = [
        site.with_plan(fails_on=fails_on, gate=str(gate))
        for fails_on, gate in zip([[2], []], gates.values(), strict=True)
    ]
    with (
        ThreadPoolExecutor(2) as threads,
        worker_parts(site, plans[0]) as one,
        worker_parts(site, plans[1]) as other,
    ):
        futures = []
        for number, parts in enumerate((one, other), 1):
            futures.append(in_background(threads, parts, job, shard))
            eventually(lambda number=number: len(site.calls()) == number, "the engine at work")
            site.ledger.client.delete(site.ledger.keys.leases)  # as if its lease had run out under it
        gates.pop(first).touch()
        winner = futures[first != "the one that fails on a row"]
        assert winner.result(60) == Outcome.PUBLISHED
        before = job.objects.read(part_object(shard))
        gates.popitem()[1].touch()
        (loser,) = (future for future in futures if future is not winner)
        assert loser.result(60) == Outcome.GONE, "it is counted once"
    assert published_lines(caplog, job, shard) == 1
    assert job.objects.read(part_object(shard)) == before
    failed = {1} if first == "the one that fails on a row" else set()
    check_outputs(job, rows, without=failed)
    assert failed_ids(job) == [f"rows#{row}" for row in failed]
    assert job.objects.exists(failed_object(shard)) == bool(failed)
    assert (left(job), entered(site, job)) == (set(), (set(), set()))
    assert verify_job(job).failed == len(failed)
