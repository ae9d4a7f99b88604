"""Bringing a ledger up to a log, whatever it has lost, and beside other processes that do it."""

import pytest
from support.counting_store import counting
from support.dict_ledger import DictLedger
from support.jobs import decide, log_of, make_job, publish_shard, record_death, waiting

from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.protocol import ledger_update
from unrolled.protocol.ledger_update import enter_again, update_ledger
from unrolled.protocol.log import Log, append


@pytest.fixture
def ledger():
    return DictLedger()


def update(job, ledger):
    update_ledger(Log(), job.objects, ledger)
    return sorted(ledger.lives)


def test_a_new_ledger_gets_all_that_waits(tmp_path, ledger):
    """With the token ids of each shard; what has its part or is dead is left out."""
    job = make_job(tmp_path / "out")
    one, two, three = waiting(job)
    publish_shard(job, one)
    record_death(job, two)
    assert update(job, ledger) == [Life(three, 0)]
    assert ledger.lives == {Life(three, 0): log_of(job).entries[three].size}
    assert ledger.known == log_of(job).length


def test_a_ledger_gets_what_is_new(tmp_path, ledger):
    """Segment by segment: what a worker took out is not entered again."""
    job = make_job(tmp_path / "out", ended=False)
    one, two, three = waiting(job)
    update(job, ledger)
    del ledger.lives[Life(one, 0)], ledger.lives[Life(two, 0)]
    record_death(job, two)
    decide(job, Segment("retry", lives=(Life(two, 1),)))
    assert update(job, ledger) == [Life(two, 1), Life(three, 0)]
    entered = len(ledger.entered)
    assert update(job, ledger) == [Life(two, 1), Life(three, 0)]
    assert len(ledger.entered) == entered


def test_a_new_segment_costs_one_look(tmp_path, ledger):
    """It is entered without another look: another process that adds a segment enters it itself."""
    job, asked = counting(make_job(tmp_path / "out", ended=False))
    log = Log()
    update_ledger(log, job.objects, ledger)
    known = log.length
    append(log, job.objects, lambda log: Segment("end") if log.length == known else None)
    before = asked["read"]
    update_ledger(log, job.objects, ledger)
    assert (ledger.known, asked["read"] - before) == (log.length, 1)


def test_a_cancel_between_look_and_entry_is_noticed(tmp_path):
    """The ledger refuses the entry, because the cancel has taken the mark; what was resumed since is entered."""
    job = make_job(tmp_path / "out", ended=False)

    class Rival(DictLedger):
        def enter(self, expected, lives, becomes):
            if expected is not None and not self.rivals:
                self.rivals += 1
                decide(job, Segment("cancel"))
                self.cancel()
                decide(job, Segment("resume"))
            return super().enter(expected, lives, becomes)

        rivals = 0

    ledger, log = Rival(), Log()
    update_ledger(log, job.objects, ledger)
    before = dict(ledger.lives)
    decide(job, Segment("end"))
    update_ledger(log, job.objects, ledger)
    assert (ledger.rivals, ledger.lives, ledger.known) == (1, before, log_of(job).length)
    assert len(before) == 3


def test_a_lost_mark_brings_all_again(tmp_path, ledger):
    """A key that Redis evicted takes the mark with the shards, so that it is seen."""
    job = make_job(tmp_path / "out")
    everything = update(job, ledger)
    ledger.cancel()
    assert update(job, ledger) == everything


def test_a_published_shard_whose_rows_are_left_is_entered(tmp_path, ledger):
    """Its worker died before it had finished: another is to do it."""
    job = make_job(tmp_path / "out", shards=1)
    (shard,) = waiting(job)
    publish_shard(job, shard)
    assert update(job, DictLedger()) == []
    job.objects.create(f"_unrolled/rows/{shard}.rows", b"rows")
    assert update(job, ledger) == [Life(shard, 0)]


@pytest.mark.parametrize("kind", ["cancel", "discard"])
def test_a_stopped_job_is_taken_out(tmp_path, ledger, kind):
    """A resumed job is entered again."""
    job = make_job(tmp_path / "out")
    everything = update(job, ledger)
    decide(job, Segment(kind))
    assert update(job, ledger) == []
    assert ledger.known is None
    if kind == "cancel":
        decide(job, Segment("resume"))
        assert update(job, ledger) == everything


@pytest.mark.parametrize("mark", ["kept", "lost", "another's"])
def test_what_was_taken_out_is_entered_again(tmp_path, ledger, mark):
    """A shard whose part was removed is entered again, whatever has become of the mark, and nothing else is."""
    job = make_job(tmp_path / "out")
    one, two, three = waiting(job)
    publish_shard(job, three)
    update(job, ledger)
    ledger.lives = {Life(two, 0): ledger.lives[Life(two, 0)]}
    ledger.known = {"kept": ledger.known, "lost": None, "another's": -5}[mark]
    enter_again(log_of(job), job.objects, ledger, [Life(one, 0)])
    assert sorted(ledger.lives) == [Life(one, 0), Life(two, 0)]
    assert ledger.known == log_of(job).length


def test_of_a_stopped_job_nothing_is_entered_again(tmp_path, ledger):
    """It ends, though the ledger will never take it."""
    job = make_job(tmp_path / "out")
    decide(job, Segment("cancel"))
    enter_again(log_of(job), job.objects, ledger, [Life(waiting(job)[0], 0)])
    assert ledger.lives == {}


@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
def test_many_are_entered_some_at_a_time(tmp_path, ledger, monkeypatch, chunk):
    """The mark says so until the last of them."""
    monkeypatch.setattr(ledger_update, "CHUNK", chunk)
    job = make_job(tmp_path / "out")
    assert [life.shard for life in update(job, ledger)] == waiting(job)
    assert sum(ledger.entered) == 3
    assert max(ledger.entered) <= chunk
    assert ledger.known == log_of(job).length


def test_a_rival_ends_the_update(tmp_path, monkeypatch):
    """Two processes enter everything at once: one gives way, and nothing is missing in the end."""
    monkeypatch.setattr(ledger_update, "CHUNK", 1)
    job = make_job(tmp_path / "out")

    class Contested(DictLedger):
        rival = True

        def enter(self, expected, lives, becomes):
            if self.rival and len(self.entered) == 2:
                self.rival = False
                update_ledger(Log(), job.objects, self)  # begins again, as the mark is below zero
            return super().enter(expected, lives, becomes)

    ledger = Contested()
    assert [life.shard for life in update(job, ledger)] == waiting(job)
    assert ledger.known == log_of(job).length


def test_a_teller_that_died_is_followed_by_another(tmp_path, ledger):
    """The negative mark stays; the next update enters everything."""
    job = make_job(tmp_path / "out")
    ledger.known = -17
    assert [life.shard for life in update(job, ledger)] == waiting(job)
