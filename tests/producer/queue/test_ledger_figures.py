"""The figures of the ledgers, which one process serves."""

import json

import pytest
from support.promtool import check_metrics

from producer.queue.ledger_figures import LedgerFigures
from unrolled.job.names import Life
from unrolled.job.offer import Offer
from unrolled.job.shard_id import ShardId
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import MOST_OFFERS
from unrolled.queue.member import Member
from unrolled.telemetry.server import text

OFFER, OTHER = Offer("ab" * 32, "fused", "float32"), Offer("cd" * 32, "fused", "bfloat16")
JOB = "0123456789abcdef"


@pytest.fixture
def server(broker):
    opened = Broker(broker.url)
    yield opened
    opened.close()


def member(number):
    return Member(JOB, Life(ShardId(number, "0123456789ab"), 0))


def values(server):
    """Name and offer → value."""
    return {
        (family.name, labels.get("offer")): value
        for family in LedgerFigures(server, "test").collect()
        for labels, value in family.values
    }


def test_each_queue_shows_its_shards_tokens_workers_and_age(server):
    """Held shards are among all; a job's mark is none; workers count for what they offer, with a queue or without."""
    ledger = server.ledger("test", OFFER)
    ledger.enter(JOB, "/out", None, [(member(number), 10) for number in range(3)], 1)
    ledger.claim(member(0), "host-1")
    ledger.beat("host-1", {})
    server.ledger("test", OTHER).beat("host-2", {})
    found = values(server)
    here, there = OFFER.short, OTHER.short
    assert found["unrolled_broker_up", None] == 1
    assert found["unrolled_ledger_shards", here] == 3
    assert found["unrolled_ledger_held_shards", here] == 1
    assert found["unrolled_ledger_tokens", here] == 30
    assert found["unrolled_ledger_workers", here] == 1
    assert 0 <= found["unrolled_ledger_oldest_shard_seconds", here] < 60
    assert (found["unrolled_ledger_shards", there], found["unrolled_ledger_workers", there]) == (0, 1)
    assert found["unrolled_ledger_oldest_shard_seconds", there] == 0
    assert check_metrics(text(LedgerFigures(server, "test").collect)) == ""


def test_a_worker_that_is_silent_for_a_lease_is_not_alive(server):
    """As `status` says it; its heartbeat is kept for another lease."""
    server.ledger("test", OFFER).enter(JOB, "/out", None, [(member(0), 10)], 1)
    seconds, _ = server.client.time()
    for name, until in (("killed", seconds + 9), ("alive", seconds + 15)):
        heartbeat = {"offer": str(OFFER), "lease_seconds": 10, "until": until}
        server.client.hset("test:workers", name, json.dumps(heartbeat))
    assert values(server)["unrolled_ledger_workers", OFFER.short] == 1


def test_a_full_broker_that_knows_of_no_worker_shows_no_number(server):
    """It refuses their heartbeats: 0 would be an alert for a lack of workers."""
    ledger = server.ledger("test", OFFER)
    ledger.enter(JOB, "/out", None, [(member(0), 10)], 1)
    assert values(server)["unrolled_ledger_workers", OFFER.short] == 0
    server.ledger("test", OTHER).beat("host-2", {})
    server.client.config_set("maxmemory", "1")
    found = values(server)
    assert ("unrolled_ledger_workers", OFFER.short) not in found
    assert found["unrolled_ledger_workers", OTHER.short] == 1, "it is known of still"
    assert found["unrolled_ledger_shards", OFFER.short] == 1


def test_the_age_is_that_of_the_oldest_message(server):
    """By the server's clock; younger shards and marks don't count."""
    ledger = server.ledger("test", OFFER)
    ledger.enter(JOB, "/out", None, [(member(number), 10) for number in range(3)], 1)
    seconds, _ = server.client.time()
    server.client.zadd(ledger.keys.ledger, {str(member(1)): seconds - 1000})
    assert 1000 <= values(server)["unrolled_ledger_oldest_shard_seconds", OFFER.short] < 1100


def test_a_queue_that_is_used_is_among_the_figures(server):
    """However many models there were before: KEDA takes a queue without a figure for an empty one."""
    server.client.sadd("test:offers", *(f"{number:012x}{0:052x}:fused:float32" for number in range(MOST_OFFERS + 5)))
    server.ledger("test", OFFER).enter(JOB, "/out", None, [(member(0), 10)], 1)
    server.ledger("test", OTHER).beat("host-2", {})
    found = values(server)
    assert found["unrolled_ledger_shards", OFFER.short] == 1
    assert found["unrolled_ledger_workers", OTHER.short] == 1


def test_a_broker_that_is_away_shows_as_that(server, broker):
    """There are no figures of queues then: a number would be believed."""
    broker.kill()
    assert values(server) == {("unrolled_broker_up", None): 0}


def test_what_others_write_into_redis_makes_no_labels(server):
    """Only names of offers become labels, and only so many."""
    server.client.sadd(
        "test:offers", "nonsense", 'x"} 1\n', *(f"{number:012x}{0:052x}:fused:float32" for number in range(500))
    )
    server.client.hset("test:workers", "w", json.dumps({"until": 1, "offer": "y"}))
    labels = {offer for _, offer in values(server) if offer}
    assert len(labels) == MOST_OFFERS
    assert all(label.endswith("-fused-float32") for label in labels)
