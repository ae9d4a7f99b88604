"""The model of the ledger against the ledger on a real server: the simulation depends on their giving equal answers."""

import uuid

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.broker import RestartableBroker
from support.ledger_model import KEYS, LEASE, LedgerModel

from unrolled.job.names import Life
from unrolled.job.offer import Offer
from unrolled.job.shard_id import ShardId
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import MARKS, Ledger
from unrolled.queue.member import Member

OFFER = Offer("ab" * 32, "fused", "float32")
JOBS = ["0" * 16, "f" * 16]
LIVES = [Life(ShardId(index, "0123456789ab"), number) for index in range(2) for number in range(2)]
#: Longer than any machine takes for one example.
LEASE_SECONDS = 36_000.0

jobs, members = st.sampled_from(JOBS), st.builds(Member, st.sampled_from(JOBS), st.sampled_from(LIVES))
without = st.lists(st.sampled_from(JOBS), unique=True)
holders, starts = st.sampled_from(["one", "two", "three"]), st.sampled_from(["first", "alone", "none"])


class Alike(RuleBasedStateMachine):
    """Both get the same calls, and must give equal answers."""

    client: redis.Redis

    def __init__(self):
        super().__init__()
        self.model = LedgerModel()
        self.ledger = Ledger(self.client, f"n{uuid.uuid4().hex[:8]}", OFFER, LEASE_SECONDS)

    def both(self, method, *arguments, **options):
        answer = getattr(self.ledger, method)(*arguments, **options)
        assert getattr(self.model, method)(*arguments, **options) == answer
        return answer

    @rule(
        job=jobs,
        lives=st.lists(st.sampled_from(LIVES), unique=True),
        is_right=st.booleans(),
        by=st.integers(-9, 9),
        tokens=st.integers(0, 3),
        priority=st.sampled_from([None, 1, 7, 100]),
    )
    def enter(self, job, lives, is_right, by, tokens, priority):
        mark = self.model.mark(job)
        expected = mark if is_right else 99
        entered = [(Member(job, life), tokens) for life in lives]
        self.both("enter", job, "/out", expected, entered, (mark or 0) + by, priority)

    @rule(hint=members, without=without)
    def choose(self, hint, without):
        self.both("choose", hint, without)

    @rule(hint=members, holder=holders, without=without)
    def choose_and_claim(self, hint, holder, without):
        chosen = self.both("choose", hint, without)
        if chosen:
            self.both("claim", chosen, holder)

    @rule(member=members, holder=holders)
    def claim(self, member, holder):
        self.both("claim", member, holder)

    @rule(member=members, holder=holders)
    def claim_and_start_alone(self, member, holder):
        if self.both("claim", member, holder).suspect:
            self.both("start_alone", member)

    @rule(member=members)
    def start_alone(self, member):
        self.both("start_alone", member)

    @rule(some=st.lists(members, min_size=1, unique=True), holder=holders)
    def renew(self, some, holder):
        self.both("renew", some, holder)

    @rule(member=members, holder=holders, start=starts, at_once=st.booleans())
    def give_back(self, member, holder, start, at_once):
        self.both("give_back", member, holder, start, at_once=at_once)

    @rule(member=members)
    def remove(self, member):
        self.both("remove", member)

    @rule(job=jobs)
    def cancel(self, job):
        self.both("cancel", job)

    @rule(job=jobs, by=st.integers(-1, 1))
    def forget(self, job, by):
        self.both("forget", job, (self.model.mark(job) or 0) + by)

    @rule(is_empty=st.booleans())
    def sweep(self, is_empty):
        self.model.queue = [] if is_empty else [Member(JOBS[0], LIVES[0])]
        self.client.delete(
            self.ledger.keys.queue, self.ledger.keys.swept
        )  # one sweep a second is enough for the product
        if not is_empty:
            self.client.lpush(self.ledger.keys.queue, b"any message")
        assert sorted(self.model.sweep()) == sorted(self.ledger.sweep())

    @rule(key=st.sampled_from(sorted({*KEYS} - {"queue"})))
    def evict(self, key):
        self.client.delete(getattr(self.ledger.keys, key))
        self.model.lose(key)

    @rule()
    def let_leases_expire(self):
        self.model.now += LEASE
        for name in (self.ledger.keys.ledger, self.ledger.keys.leases, self.ledger.keys.later):
            for member, score in self.client.zrange(name, 0, -1, withscores=True):
                if score >= MARKS:
                    self.client.zadd(name, {member: score - LEASE_SECONDS})

    @invariant()
    def agree(self):
        for job in JOBS:
            for method in ("mark", "place_of", "members"):
                self.both(method, job)


@pytest.fixture(scope="module")
def client():
    with RestartableBroker() as server, redis.Redis.from_url(client_url(server.url)) as found:
        yield found


def test_the_model_is_the_ledger(client):
    """Whatever is entered, claimed, started, given back, swept, removed, cancelled or evicted, in any order."""
    Alike.client = client
    run_state_machine_as_test(
        Alike, settings=settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    )
