"""The model of the ledger against the ledger on a real server: the simulation rests on their being alike."""

import uuid

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.broker import RestartableBroker
from support.ledger_model import LEASE, LedgerModel

from unrolled.job.names import Life
from unrolled.job.offer import Offer
from unrolled.job.shard_id import ShardId
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import MARKS, Ledger
from unrolled.queue.member import Member

OFFER = Offer("ab" * 32, "fused", "float32")
JOBS = ["0" * 16, "f" * 16]
LIVES = [Life(ShardId(index, "0123456789ab"), number) for index in range(2) for number in range(2)]
#: A key of the model, and those of the server that it is a model of.
KEYS = {"members": ["ledger"], "places": ["jobs"], "leases": ["leases", "holders"], "starts": ["started", "lonely"]}
LEASE_SECONDS = 30.0

jobs, members = st.sampled_from(JOBS), st.builds(Member, st.sampled_from(JOBS), st.sampled_from(LIVES))
holders = st.sampled_from(["one", "two"])


class Alike(RuleBasedStateMachine):
    """Both are asked and told the same."""

    client: redis.Redis

    def __init__(self):
        super().__init__()
        self.model = LedgerModel()
        self.ledger = Ledger(self.client, f"n{uuid.uuid4().hex[:8]}", OFFER, LEASE_SECONDS)

    @rule(job=jobs, lives=st.lists(st.sampled_from(LIVES), unique=True), is_right=st.booleans(), by=st.integers(-9, 9))
    def enter(self, job, lives, is_right, by):
        told = self.model.told(job)
        expected = told if is_right else 99
        becomes = (told or 0) + by
        entered = self.ledger.enter(job, "/out", expected, [(Member(job, life), 1) for life in lives], becomes)
        assert self.model.enter(job, "/out", expected, [(life, 1) for life in lives], becomes) == (entered is not None)

    @rule(member=members, holder=holders)
    def claim(self, member, holder):
        state = self.ledger.claim(member, holder).state
        assert self.model.claim(member, holder).state == ("taken" if state == "mine" else state)

    @rule(member=members, holder=holders)
    def renew(self, member, holder):
        self.ledger.renew([member], holder)
        self.model.renew(member, holder)

    @rule(member=members, holder=holders)
    def give_back(self, member, holder):
        self.ledger.give_back(member, holder, "first")
        self.model.give_back(member, holder)

    @rule(member=members)
    def remove(self, member):
        self.ledger.remove(member)
        self.model.remove(member)

    @rule(job=jobs)
    def cancel(self, job):
        self.ledger.cancel(job)
        self.model.cancel(job)

    @rule(key=st.sampled_from([*KEYS]))
    def evict(self, key):
        self.client.delete(*(getattr(self.ledger.keys, name) for name in KEYS[key]))
        self.model.lose(key)

    @rule()
    def let_leases_run_out(self):
        self.model.now += LEASE
        for name in (self.ledger.keys.ledger, self.ledger.keys.leases):
            for member, score in self.client.zrange(name, 0, -1, withscores=True):
                if score >= MARKS:
                    self.client.zadd(name, {member: score - LEASE_SECONDS})

    @invariant()
    def agree(self):
        for job in JOBS:
            assert self.ledger.told(job) == self.model.told(job)
            assert self.ledger.place_of(job) == self.model.place_of(job)
            assert self.ledger.members(job)[0] == {m.life for m in self.model.members if m.job_key == job}


@pytest.fixture(scope="module")
def client():
    with RestartableBroker() as server, redis.Redis.from_url(client_url(server.url)) as found:
        yield found


def test_the_model_is_the_ledger(client):
    """Whatever is entered, claimed, given back, removed, cancelled or evicted, in any order."""
    Alike.client = client
    run_state_machine_as_test(
        Alike, settings=settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    )
