"""What a run says while its workers finish."""

from contextlib import closing

import pytest
from support.jobs import make_job, waiting

from producer.local import stopping
from producer.local.stopping import shards_at_work, tell_what_is_left
from unrolled.job.names import Life
from unrolled.queue.broker import Broker
from unrolled.queue.member import Member

_STILL = "still being computed or written"


@pytest.mark.parametrize(
    ("shards", "grace_seconds", "line"),
    [
        (3, 3600, f"3 shards are {_STILL}, for up to 3,599 seconds more."),
        (1, 0, f"1 shard is {_STILL}; the time for this is over, so the workers give back what they hold."),
        (0, 3600, "2 workers are still ending."),
    ],
)
def test_it_says_what_is_left_until_no_worker_runs(monkeypatch, capsys, shards, grace_seconds, line):
    """Again and again: between the two questions a worker may end, too."""
    monkeypatch.setattr(stopping, "SAY_SECONDS", 0.001)
    running = iter([2, 2, 2, 2, 2, 0])
    thread = tell_what_is_left(lambda: next(running, 0), lambda: shards, grace_seconds, " Again?")
    thread.join(60)
    assert not thread.is_alive()
    assert capsys.readouterr().err == f"{line} Again?\n" * 2


def test_shards_at_work_are_counted_by_the_ledger(tmp_path, broker_url):
    """Those that wait don't count; a broker that can't be reached leaves the lines without a number."""
    job = make_job(tmp_path / "out", shards=3)
    with closing(Broker(broker_url)) as server:
        ledger = server.ledger("test", job.job.offer)
        members = [Member(job.key, Life(shard, 0)) for shard in waiting(job)]
        ledger.enter(job.key, job.place, None, [(member, 5) for member in members], 1)
        ledger.claim(members[1], "host-1")
    assert shards_at_work(broker_url, "test", job) == 1
    assert shards_at_work(broker_url, "other", job) == 0
    assert shards_at_work("redis+socket:///nowhere", "test", job) == 0
