"""A worker that can't use a job's directory leaves the job's shards to the workers that can."""

import queue
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.processes import check_outputs, eventually, left, make_rows, open_site, worker_parts

from unrolled.job.names import Life
from unrolled.queue.member import Member
from worker.runtime.outcome import Outcome

THREADS = 4


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


class Messages:
    """A queue in this process, for threads that take its messages as a worker's threads do until the block ends."""

    def __init__(self):
        self.queue = queue.SimpleQueue()
        self.over = threading.Event()
        self.outcomes = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()

    def take(self, name, parts):
        """Handle messages until all is over."""
        found = self.outcomes.setdefault(name, Counter())
        while not self.over.is_set():
            try:
                values = self.queue.get(timeout=0.05)
            except queue.Empty:
                continue
            found[parts.service.handle(values)] += 1

    def send(self, member):
        self.queue.put(member.encode())

    def send_all(self, job):
        for shard in sorted(left(job)):
            self.send(Member(job.key, Life(shard, 0)))


def test_a_worker_that_refuses_a_job_does_not_slow_the_others(site):
    """Leases are long and nothing sweeps in time, yet every shard is computed, after a handful of refusals."""
    rows = make_rows(120)
    job = site.enqueue(rows)
    shards = len(left(job))
    messages = Messages()
    with (
        worker_parts(site, send=messages.send, output_root=site.root / "below") as refusing,
        worker_parts(site, send=messages.send) as good,
        ThreadPoolExecutor(THREADS + 1) as threads,
        messages,
    ):
        for _ in range(THREADS):
            threads.submit(messages.take, "refusing", refusing)
        messages.send_all(job)
        # It has taken what it can before the other worker takes its first message.
        eventually(lambda: messages.outcomes.get("refusing", {}).get(Outcome.REFUSED), "a refusal")
        threads.submit(messages.take, "good", good)
        eventually(lambda: not left(job), "every shard computed")
    refusals = messages.outcomes["refusing"][Outcome.REFUSED]
    assert 1 <= refusals <= THREADS + 8 < shards / 4, "each thread once, and a try now and then"
    assert messages.outcomes["refusing"][Outcome.PASSED_ON] < 300, "it rests, and leaves the messages alone meanwhile"
    assert messages.outcomes["good"][Outcome.PUBLISHED] == shards
    assert site.ledger.counts().shards == 0
    check_outputs(job, rows)


def test_a_worker_that_refuses_a_job_computes_the_others(site):
    """Shards of another job are chosen at once, whatever the messages name and however many shards are before them."""
    strange = site.enqueue(make_rows(240))
    rows = make_rows(6)
    messages = Messages()
    (site.root / "below").mkdir()
    job = site.enqueue(rows, name="below/out")
    hint = Member(strange.key, Life(min(left(strange)), 0))
    with worker_parts(site, send=messages.send, output_root=site.root / "below") as parts:
        outcomes = Counter()
        while not outcomes[Outcome.PASSED_ON] and outcomes[Outcome.REFUSED] < 8:
            outcomes[parts.service.handle(hint.encode())] += 1
    check_outputs(job, rows)
    assert outcomes[Outcome.PUBLISHED] == 3
    assert 1 <= outcomes[Outcome.REFUSED] < 8, "once, and a try now and then"
    assert messages.queue.qsize() == outcomes[Outcome.REFUSED] + 1, "a message that isn't used is sent again"
    assert site.ledger.counts().running == 0


def test_a_job_that_was_refused_is_tried_again(site):
    """When its directory is back, the worker notices by itself."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    (shard,) = left(job)
    values = Member(job.key, Life(shard, 0)).encode()
    out, away = site.root / "out", site.root / "away"
    out.rename(away)
    with worker_parts(site) as parts:
        assert parts.service.handle(values) == Outcome.REFUSED
        away.rename(out)
        eventually(lambda: parts.service.handle(values) == Outcome.PUBLISHED, "the try")
    check_outputs(job, rows)


def test_a_shard_that_is_given_back_can_be_chosen_at_once(site):
    """Even by another thread of the worker that refuses it, before its message is sent: it isn't lost for a lease."""
    rows = make_rows(2)
    job = site.enqueue(rows)
    (shard,) = left(job)
    values = Member(job.key, Life(shard, 0)).encode()
    sent, outcomes = [], Counter()

    def send(member):
        sent.append(member)
        if len(sent) > 1:
            return
        with ThreadPoolExecutor(1) as other:
            while not outcomes[Outcome.REFUSED] + outcomes[Outcome.HELD]:
                outcomes[other.submit(parts.service.handle, values).result()] += 1

    with worker_parts(site, send=send, output_root=site.root / "below") as parts:
        assert parts.service.handle(values) == Outcome.REFUSED
    assert outcomes[Outcome.REFUSED] == 1
    with worker_parts(site) as parts:
        names_another = Member(job.key, Life(shard, 1)).encode()
        assert parts.service.handle(names_another) == Outcome.PUBLISHED
    check_outputs(job, rows)
