"""What becomes of a shard, whatever happens to it."""

import json
import logging
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.counting_engine import expected_outputs, expected_pooled
from support.processes import (
    UNITS,
    check_outputs,
    eventually,
    leftovers,
    make_rows,
    open_site,
    quarantined_ids,
    worker_parts,
)

from producer.jobs.verify import verify_job
from producer.rows import Row
from unrolled.errors import BrokenWorkerError
from unrolled.format.columns import column_name
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from unrolled.job.shard_id import ShardId
from unrolled.patience import ATTEMPTS
from unrolled.queue.ledger import Ledger
from unrolled.queue.member import Member
from unrolled.reading.dataset import open_dataset
from worker.pool.buffers import Buffers
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


def only_shard(directory):
    (shard,) = directory.waiting() - directory.given_up()
    return shard


def entered(site, directory):
    """Shards of a job in the ledger, and those under a lease."""
    return site.ledger.members(directory.key)


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def dead_reason(directory, shard):
    return json.loads(directory.dead(shard).read_text())["reason"]


def handle(parts, directory, shard):
    return parts.service.handle(Member(directory.key, shard).encode())


def in_background(threads, parts, directory, shard):
    return threads.submit(handle, parts, directory, shard)


def test_a_shard_is_published_then_gone(site, parts):
    """Its file is right, nothing of it waits any more, and the next message finds nothing to do."""
    rows = make_rows(3)
    directory = site.enqueue(rows, rows_per_shard=3)
    shard = only_shard(directory)
    assert handle(parts, directory, shard) == Outcome.PUBLISHED
    check_outputs(directory, rows)
    assert (directory.waiting(), entered(site, directory)) == (set(), (set(), set()))
    assert handle(parts, directory, shard) == Outcome.GONE
    assert len(site.calls()) == 1


def test_a_shard_of_empty_rows_is_published(site, parts):
    """Rows without a real token have no output, but they have a row."""
    rows = make_rows(3)
    rows = [Row(row.file, row.position, row.id, row.tokens * 0) for row in rows]
    directory = site.enqueue(rows, rows_per_shard=3)
    assert handle(parts, directory, only_shard(directory)) == Outcome.PUBLISHED
    check_outputs(directory, rows)


def test_a_shard_that_another_worker_holds_is_left_alone(site, parts):
    """Nothing is read or computed."""
    directory = site.enqueue(make_rows(2))
    shard = only_shard(directory)
    site.ledger.claim(Member(directory.key, shard), "another")
    assert handle(parts, directory, shard) == Outcome.HELD
    assert site.calls() == []
    assert parts.service.board.held() == {}


def test_publishing_twice_leaves_the_same_bytes(site, parts):
    """After a worker that died between its part and the ledger, or whose part was lost."""
    directory = site.enqueue(make_rows(2))
    shard = only_shard(directory)
    blob = directory.pending(shard).read_bytes()
    handle(parts, directory, shard)
    before = directory.part(shard).read_bytes()
    for lost in (False, True):
        directory.pending(shard).write_bytes(blob)
        site.ledger.enter(Member(directory.key, shard), 10, str(directory.path))
        if lost:
            directory.part(shard).unlink()
        assert handle(parts, directory, shard) == Outcome.PUBLISHED
        assert directory.part(shard).read_bytes() == before
        assert directory.waiting() == set()
    assert len(site.calls()) == 2  # not where the file was there


@settings(max_examples=50)
@given(st.one_of(st.none(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=3), max_size=2)))
def test_a_hostile_hint_is_dropped(value):
    """Any value in place of a job key or a shard id: nothing but a line in the log."""
    with HOSTILE_PARTS as parts:
        assert parts.service.handle([value, "000000-0123456789ab"]) == Outcome.DROPPED
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
    "rows are missing": lambda path: path.unlink(),
    "holds other rows": lambda path: path.write_bytes(b""),
    "the file has": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "is damaged": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xff"),
    "not a payload": lambda path: path.write_bytes(b"PK" + path.read_bytes()[2:]),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_damaged_rows_make_a_dead_shard(site, parts, reason):
    """The reason is on record, what is left of the rows stays, and the next shard is computed."""
    rows = make_rows(4)
    directory = site.enqueue(rows)
    shard, other = sorted(directory.waiting())
    DAMAGE[reason](directory.pending(shard))
    before = directory.waiting()
    assert handle(parts, directory, shard) == Outcome.GIVEN_UP
    assert reason in dead_reason(directory, shard)
    assert directory.waiting() == before
    assert entered(site, directory)[0] == {other}
    assert handle(parts, directory, other) == Outcome.PUBLISHED
    check_outputs(directory, rows, without={0, 1})
    assert site.starts().keys() == {2, 3}


def test_a_token_that_the_model_does_not_know_makes_a_dead_shard(site, parts):
    """It never reaches the engine; the text names it and what is allowed."""
    rows = make_rows(1)
    rows[0].tokens[1] = 60_001
    directory = site.enqueue(rows)
    shard = only_shard(directory)
    assert handle(parts, directory, shard) == Outcome.GIVEN_UP
    assert "token id 60001; the model knows 1 to 60000" in dead_reason(directory, shard)
    assert directory.waiting() == {shard}
    assert site.calls() == []


@pytest.mark.parametrize("pooling", [["mean"], ["none", "max", "first"], ["mean", "max", "last", "first"]])
def test_what_the_job_stores_is_published(site, parts, pooling):
    """Every column of every row, and the token ids where they are asked for."""
    rows = make_rows(5)
    directory = site.enqueue(rows, rows_per_shard=5, pooling=pooling, layers=[0], with_tokens=True)
    assert handle(parts, directory, only_shard(directory)) == Outcome.PUBLISHED
    found = list(open_dataset(directory.path))
    assert [row.id for row in found] == [row.id for row in rows]
    for row, source in zip(found, rows, strict=True):
        states = expected_outputs(source.tokens, UNITS)
        assert row.tokens.tolist() == source.tokens.tolist()
        assert set(row.vectors) == {column_name(name, 0) for name in pooling}
        for name in pooling:
            expected = states if name == "none" else expected_pooled(states, name)
            np.testing.assert_array_equal(row[column_name(name, 0)], expected)
    assert verify_job(directory).problems == ()


def test_jobs_that_store_other_things_share_a_worker(site):
    """Their shards wait together and go into the engine apart."""
    rows = make_rows(4)
    plain = site.enqueue(rows, rows_per_shard=1, name="plain")
    pooled = site.enqueue(rows, rows_per_shard=1, name="pooled", pooling=["mean"])
    with ThreadPoolExecutor(8) as threads, worker_parts(site, site.with_plan(gate=str(site.gate))) as parts:
        futures = [
            in_background(threads, parts, directory, shard)
            for shards in zip(sorted(plain.waiting()), sorted(pooled.waiting()), strict=True)
            for directory, shard in zip((plain, pooled), shards, strict=True)
        ]
        eventually(lambda: len(parts.service.board.held()) == 8, "all on board")
        site.gate.touch()
        assert {future.result(20) for future in futures} == {Outcome.PUBLISHED}
    check_outputs(plain, rows)
    for row, source in zip(open_dataset(pooled.path), rows, strict=True):
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
    ],
)
def test_what_cannot_be_stored_makes_a_dead_shard(site, parts, options, text):
    """A manifest that anybody may have written is checked before memory is taken or anything computed."""
    directory = site.enqueue(make_rows(2), **options)
    shard = only_shard(directory)
    assert handle(parts, directory, shard) == Outcome.GIVEN_UP
    assert text in dead_reason(directory, shard)
    assert len(dead_reason(directory, shard)) < 1_000
    assert site.calls() == []


@pytest.mark.parametrize(("pooling", "together"), [(["none"], 1), (["mean"], 2), (["none", "mean"], 1)])
def test_the_budget_counts_what_the_columns_weigh(site, pooling, together):
    """Two shards of 600 KiB in vectors of tokens don't fit into 1 MiB; their pooled vectors are 16 bytes a row."""
    rows = [Row("rows", number, f"rows#{number}", np.ones(38_400, np.int32)) for number in range(2)]
    directory = site.enqueue(rows, rows_per_shard=1, pooling=pooling)
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(2) as threads, worker_parts(site, plan, memory_budget=2**20) as parts:
        futures = [in_background(threads, parts, directory, shard) for shard in sorted(directory.waiting())]
        eventually(lambda: len(parts.service.board.held()) == 2, "both claimed")
        eventually(lambda: site.calls() and parts.service._admission._on_board == together, "those that fit admitted")
        assert parts.service._admission._on_board == together
        site.gate.touch()
        assert {future.result(20) for future in futures} == {Outcome.PUBLISHED}


def test_a_job_of_another_model_is_refused(site, parts, caplog):
    """Both fingerprints are logged; nothing is computed, and nothing is written into that job's directory."""
    directory = create_job(site.root / "theirs", Job(FOREIGN, ("x",), {}))
    shard = ShardId(0, "0123456789ab")
    site.ledger.enter(Member(directory.key, shard), 10, str(directory.path))
    before = sorted(directory.path.rglob("*"))
    assert handle(parts, directory, shard) == Outcome.PUT_OFF
    (text,) = warnings_in(caplog)
    assert FOREIGN in text
    assert site.model.fingerprint in text
    assert sorted(directory.path.rglob("*")) == before
    assert site.calls() == []


def test_a_directory_outside_of_the_root_is_refused(site, caplog):
    """Nothing is written there; the text names the root."""
    directory = site.enqueue(make_rows(2))
    with worker_parts(site, output_root=site.root / "below") as parts:
        assert handle(parts, directory, only_shard(directory)) == Outcome.PUT_OFF
    assert "--output-root" in warnings_in(caplog)[0]
    assert directory.published() == directory.given_up() == set()
    assert site.ledger.counts().shards == 1, "a worker that is set up rightly must still find it"


def test_a_hostile_job_entry_stops_nobody(site, parts):
    """Whatever Redis says of one job, the shards of another are computed, and the worker holds nothing."""
    for number, raw in enumerate(
        [b"\xff", b"{}", b'{"directory": "/etc"}', b'{"directory": "/a\\u0000"}', b"[" * 9999]
    ):
        member = Member(f"{number:016x}", ShardId(0, "0123456789ab"))
        site.ledger.enter(member, 10, "x")
        site.ledger.client.hset(site.ledger.keys.jobs, member.job_key, raw)
        assert parts.service.handle(member.encode()) in (Outcome.PUT_OFF, Outcome.GIVEN_UP)
    rows = make_rows(2)
    directory = site.enqueue(rows)
    assert handle(parts, directory, only_shard(directory)) == Outcome.PUBLISHED
    assert site.ledger.counts().running == 0


@pytest.mark.parametrize("tokens", [b"-1000000", b"abc", b"", b"1e300", b"1000000000000"])
def test_a_lie_about_a_shards_size_costs_nothing(site, tokens):
    """Memory is taken for the rows that will be read, not for the ledger's count."""
    rows = make_rows(2)
    directory = site.enqueue(rows)
    shard = only_shard(directory)
    site.ledger.client.hset(site.ledger.keys.tokens, str(Member(directory.key, shard)), tokens)
    with worker_parts(site) as parts:
        assert handle(parts, directory, shard) == Outcome.PUBLISHED
        assert parts.service._admission._used == 0


def test_a_full_disk_is_waited_for(site, small_disk, caplog):
    """One line when it fills, one when there is room; the file is whole, and no temporary one is left."""
    rows = make_rows(400, length=20)
    directory = site.enqueue(rows, rows_per_shard=200)
    filler = small_disk / "_filler"
    with ThreadPoolExecutor(2) as threads, worker_parts(site) as parts:
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        futures = [in_background(threads, parts, directory, shard) for shard in directory.waiting()]
        eventually(lambda: warnings_in(caplog), "the line")
        eventually(lambda: site.ledger.counts().running == 2, "both held")
        assert "No space left" in warnings_in(caplog)[0]
        assert "free some space" in warnings_in(caplog)[0]
        filler.unlink()
        assert [future.result(20) for future in futures] == [Outcome.PUBLISHED] * 2
    assert len(warnings_in(caplog)) == 2
    assert "again" in warnings_in(caplog)[1]
    check_outputs(directory, rows)
    assert leftovers(directory) == []
    assert len(site.calls()) <= 2  # what was computed was kept


def test_a_read_only_disk_is_waited_for(site, small_disk, caplog):
    """A shard is held until the file system is writable again."""
    rows = make_rows(2)
    directory = site.enqueue(rows)
    with ThreadPoolExecutor(1) as threads, worker_parts(site) as parts:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        future = in_background(threads, parts, directory, only_shard(directory))
        eventually(lambda: warnings_in(caplog), "the line")
        assert "mount it writable" in warnings_in(caplog)[0]
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        assert future.result(20) == Outcome.PUBLISHED
    check_outputs(directory, rows)


@pytest.mark.parametrize("when", ["before", "while it is computed"])
def test_a_directory_that_is_gone_holds_nobody_up(site, caplog, when):
    """Its shards are put off with one line, wait in the ledger without a lease, and are published when it is back."""
    rows = make_rows(4)
    directory = site.enqueue(rows)
    away = directory.path.with_name("away")
    shards = sorted(directory.waiting())
    plan = site.with_plan(gate=str(site.gate)) if when != "before" else None
    with ThreadPoolExecutor(2) as threads, worker_parts(site, plan) as parts:
        if when == "before":
            directory.path.rename(away)
        futures = [in_background(threads, parts, directory, shard) for shard in shards]
        if when != "before":
            eventually(site.calls, "the engine at work")
            directory.path.rename(away)
            site.gate.touch()
        assert [future.result(10) for future in futures] == [Outcome.PUT_OFF] * 2
        assert len(warnings_in(caplog)) == 1
        assert entered(site, directory) == (set(shards), set())
        away.rename(directory.path)
        assert [handle(parts, directory, shard) for shard in shards] == [Outcome.PUBLISHED] * 2
        assert len(warnings_in(caplog)) == 2
    check_outputs(directory, rows)


def test_stopping_gives_back_what_is_on_board(site):
    """Its message is sent again, the lease is gone, and it is no suspect."""
    sent = []
    directory = site.enqueue(make_rows(2))
    shard = only_shard(directory)
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(1) as threads, worker_parts(site, plan, sent.append) as parts:
        future = in_background(threads, parts, directory, shard)
        eventually(site.calls, "the engine at work")
        assert parts.service.board.held().keys() == {Member(directory.key, shard)}
        parts.service.stop()
        assert future.result(10) == Outcome.GIVEN_BACK
        parts.service.board.wait_until_empty()
    assert sent == [Member(directory.key, shard)]
    assert entered(site, directory) == ({shard}, set())
    assert not site.ledger.claim(Member(directory.key, shard), "next").suspect


def test_stopping_ends_the_wait_for_the_broker(site, broker, caplog):
    """A message that can't be looked up is left where it is: in the ledger."""
    directory = site.enqueue(make_rows(2))
    shard = only_shard(directory)
    with ThreadPoolExecutor(1) as threads, worker_parts(site) as parts:
        broker.kill()
        future = in_background(threads, parts, directory, shard)
        eventually(lambda: any("reach the broker" in text for text in warnings_in(caplog)), "the line")
        parts.service.stop()
        assert future.result(20) == Outcome.LEFT
        broker.start()
    assert entered(site, directory)[0] == {shard}


def test_a_broken_engine_gives_back_and_is_told_once(site, caplog):
    """Every shard of its pool is blameless, and the worker is asked to stop a single time."""
    directory = site.enqueue(make_rows(8))
    first, *others = sorted(directory.waiting())
    plan = site.with_plan(gate=str(site.gate), breaks_on=[3])
    with ThreadPoolExecutor(4) as threads, worker_parts(site, plan) as parts:
        in_background(threads, parts, directory, first)
        eventually(site.calls, "the engine at work")
        futures = [in_background(threads, parts, directory, shard) for shard in others]
        eventually(lambda: len(parts._pool._waiting) == 3, "the others in the pool")
        site.gate.touch()
        assert {future.result(10) for future in futures} == {Outcome.GIVEN_BACK}
        assert isinstance(parts.broken, BrokenWorkerError)
    assert [record.levelno for record in caplog.records].count(logging.CRITICAL) == 1
    for shard in others:
        assert not site.ledger.claim(Member(directory.key, shard), "next").suspect


def die(site, member, times):
    """Leave the traces of workers that died with a shard on board: first in company, then alone."""
    for number in range(times):
        ledger = Ledger(site.ledger.client, "test", site.model.fingerprint, lease_seconds=0.0)
        assert ledger.claim(member, f"victim-{number}").state == "taken"
        if number:
            ledger.start_alone(member)


@pytest.mark.parametrize(("deaths", "outcome"), [(1, Outcome.PUBLISHED), (3, Outcome.PUBLISHED), (4, Outcome.GIVEN_UP)])
def test_a_killer_is_given_up_after_its_lonely_deaths(site, parts, deaths, outcome):
    """One death in company and max_attempts alone; until then it is tried again, alone."""
    directory = site.enqueue(make_rows(2))
    shard = only_shard(directory)
    die(site, Member(directory.key, shard), deaths)
    assert handle(parts, directory, shard) == outcome
    assert entered(site, directory) == (set(), set())
    if outcome == "given up":
        assert "died 3 times with it alone" in dead_reason(directory, shard)
        assert directory.waiting() == {shard}
        assert site.calls() == []


def test_a_suspect_runs_alone(site):
    """While it is on board no other shard is in the engine, and those that wait come after it."""
    directory = site.enqueue(make_rows(6))
    suspect, *others = sorted(directory.waiting())
    die(site, Member(directory.key, suspect), 1)
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(3) as threads, worker_parts(site, plan) as parts:
        first = in_background(threads, parts, directory, suspect)
        eventually(site.calls, "the suspect in the engine")
        rest = [in_background(threads, parts, directory, shard) for shard in others]
        eventually(lambda: len(parts.service.board.held()) == 3, "the others on board")
        assert [shards for _, shards in site.calls()] == [[[1, 2]]]
        site.gate.touch()
        assert {future.result(10) for future in [first, *rest]} == {Outcome.PUBLISHED}
    assert all([1, 2] not in shards for _, shards in site.calls()[1:])


def test_failed_rows_go_to_quarantine_and_the_rest_is_published(site, parts_that_fail):
    """With one line in the log, and the row's own reason in the list."""
    rows = make_rows(4)
    directory = site.enqueue(rows, rows_per_shard=4)
    assert handle(parts_that_fail, directory, only_shard(directory)) == Outcome.PUBLISHED
    check_outputs(directory, rows, without={2})
    assert quarantined_ids(directory) == ["rows#2"]


@pytest.fixture
def parts_that_fail(site):
    with worker_parts(site, site.with_plan(fails_on=[3])) as assembly:
        yield assembly


class Short(Buffers):
    """Has no memory the first `times` times."""

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
    directory = site.enqueue(rows)
    shard = only_shard(directory)
    parts._pool._buffers = Short(times)
    assert handle(parts, directory, shard) == outcome
    if outcome == "published":
        check_outputs(directory, rows)
    else:
        assert dead_reason(directory, shard) == "MemoryError"
        assert directory.waiting() == {shard}


def test_two_deliveries_at_once_are_computed_once(site):
    """The second one finds the shard held by the first."""
    rows = make_rows(2)
    directory = site.enqueue(rows)
    shard = only_shard(directory)
    barrier = threading.Barrier(8)

    def deliver(parts):
        barrier.wait()
        return handle(parts, directory, shard)

    with ThreadPoolExecutor(8) as threads, worker_parts(site) as parts:
        outcomes = list(threads.map(deliver, [parts] * 8))
    assert outcomes.count(Outcome.PUBLISHED) == 1
    assert set(outcomes) <= {Outcome.PUBLISHED, Outcome.HELD, Outcome.GONE}
    assert set(site.starts().values()) == {1}
    assert list((directory.path / "_pending").iterdir()) == []
