"""The ledger on a real server: alone, in parallel, and against a plain model of it."""

import json
import threading
import uuid
from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.broker import RestartableBroker
from support.processes import eventually

from unrolled.job.names import Life
from unrolled.job.offer import Offer
from unrolled.job.shard_id import ShardId
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import (
    CANCEL_CHUNK,
    MARKS,
    MOST_OFFERS,
    RENEWAL_SECONDS,
    SILENCE_SECONDS,
    SWEEP_PAUSE_SECONDS,
    Counts,
    Known,
    Lease,
    Ledger,
)
from unrolled.queue.member import Member
from unrolled.settings.worker_options import DAY

OFFER, OTHER_OFFER = Offer("ab" * 32, "fused", "float32"), Offer("ab" * 32, "fused", "bfloat16")
JOB, OTHER_JOB = "0" * 16, "f" * 16
SHARDS = [Member(JOB, Life(ShardId(index, "0123456789ab"), 0)) for index in range(4)]
A, B, C, _ = SHARDS
LEASE = 30.0


@pytest.fixture(scope="module")
def client():
    """A client of a server for this whole file; each test has a namespace of its own."""
    with RestartableBroker() as server, redis.Redis.from_url(client_url(server.url)) as found:
        found.config_set("appendfsync", "no")  # nothing here kills it
        yield found


@pytest.fixture
def ledger(client):
    return Ledger(client, f"n{uuid.uuid4().hex[:8]}", OFFER, LEASE)


def keys_of(ledger):
    """The keys under the ledger's namespace: name without the prefix → type."""
    prefix = f"{ledger._namespace}:"
    return {
        key.decode().removeprefix(prefix): ledger.client.type(key).decode()
        for key in ledger.client.scan_iter(f"{prefix}*", count=1000)
    }


def let_pass(ledger, seconds, *, swept=True):
    """Make everything in the ledger some seconds older, as waiting would.

    With `swept`, as if workers had swept all the while.
    """
    for name in ("ledger", "leases", "later"):
        for member, score in ledger.client.zrange(getattr(ledger.keys, name), 0, -1, withscores=True):
            if score < MARKS:
                continue
            ledger.client.zadd(getattr(ledger.keys, name), {member: score - seconds})
    if (value := ledger.client.get(ledger.keys.swept)) is not None:
        ledger.client.set(ledger.keys.swept, float(value) - seconds)
    if swept and ledger.client.exists(ledger.keys.swept):
        now, _ = ledger.client.time()
        ledger.client.set(ledger.keys.swept, now - SWEEP_PAUSE_SECONDS)


def tell(ledger, *members, tokens=10, place="/out"):
    """Enter one more segment of the first member's job, which starts these lives. Returns those that are new."""
    job_key = members[0].job_key
    mark = ledger.mark(job_key)
    return ledger.enter(job_key, place, mark, [(member, tokens) for member in members], (mark or 0) + 1)


def enter(ledger, *members, tokens=10):
    assert tell(ledger, *members, tokens=tokens) == list(members)


def push(ledger, *members):
    """Put messages into the ledger's queue; that there are some is all the ledger looks at."""
    ledger.client.lpush(ledger.keys.queue, *map(str, members))


def test_enter_once(ledger):
    """A shard that is entered again stays as it was, with its tokens counted once."""
    assert tell(ledger, A) == [A]
    assert tell(ledger, A, B, tokens=99) == [B]
    assert ledger.counts() == Counts(shards=2, running=0, tokens=109)
    assert (ledger.place_of(JOB), ledger.place_of(OTHER_JOB)) == ("/out", None)
    assert ledger.known([JOB, OTHER_JOB]) == [Known(2, 2), Known(None, 0)]


def test_two_tell_at_once(ledger):
    """Of two processes that enter a segment, one does; the other learns that the mark has moved."""
    assert ledger.mark(JOB) is None
    assert ledger.enter(JOB, "/out", None, [(A, 1)], 1) == [A]
    for expected in (None, 0, 2, -1):
        assert ledger.enter(JOB, "/out", expected, [(B, 1)], 2) is None
    assert (ledger.mark(JOB), ledger.counts().shards) == (1, 1)
    assert ledger.enter(JOB, "/out", 1, [], 2) == []
    assert ledger.mark(JOB) == 2


def test_telling_all_takes_turns(ledger):
    """An update from scratch leaves a negative mark, so that the next chunk notices a rival."""
    mine, theirs = -(2**50) - 1, -5
    assert ledger.enter(JOB, "/out", None, [(A, 1)], mine) == [A]
    assert ledger.mark(JOB) == mine
    assert ledger.enter(JOB, "/out", mine, [], theirs) == []
    assert ledger.enter(JOB, "/out", mine, [(B, 1)], 7) is None
    assert ledger.enter(JOB, "/out", theirs, [(B, 1)], 7) == [B]
    assert ledger.mark(JOB) == 7


def test_a_lost_key_takes_the_mark(ledger):
    """The mark and the shards are in one key, so both are evicted or neither."""
    enter(ledger, A)
    ledger.client.delete(ledger.keys.ledger)
    assert ledger.mark(JOB) is None
    enter(ledger, A)
    assert ledger.claim(A, "one") == Lease("taken")


def test_marks_are_no_shards(ledger):
    """No sweep sends a mark, however old it looks, and no count counts it."""
    enter(ledger, A)
    ledger.claim(A, "one")
    ledger.remove(A)
    let_pass(ledger, LEASE + 1)
    assert ledger.sweep() == []
    assert ledger.counts() == Counts(0, 0, 0)
    assert ledger.members(JOB) == (set(), set())
    assert ledger.mark(JOB) == 1


def test_one_sweeper(ledger):
    """A sweep looks at all that runs, so the next one waits a moment, also another worker's."""
    enter(ledger, A)
    ledger.claim(A, "one")
    assert ledger.sweep() == []
    for member, score in ledger.client.zrange(ledger.keys.leases, 0, -1, withscores=True):
        ledger.client.zadd(ledger.keys.leases, {member: score - LEASE - 1})
    assert ledger.sweep() == []
    let_pass(ledger, 0)
    assert ledger.sweep() == [A]


def test_claim(ledger):
    """A shard is taken by one; others learn that it is held, and later that it is gone."""
    enter(ledger, A)
    assert ledger.claim(A, "one") == Lease("taken")
    assert ledger.claim(A, "two") == Lease("held")
    assert ledger.claim(A, "one") == Lease("mine"), "the first reply may have been lost"
    assert ledger.counts().running == 1
    assert ledger.remove(A)
    assert not ledger.remove(A)
    assert ledger.claim(A, "two") == Lease("gone")


def test_renewed_before_its_claim(ledger):
    """A shard that a renewal took before the claim came is claimed like any other, and its start leaves its trace."""
    enter(ledger, A)
    assert ledger.renew([A], "one") == []
    assert ledger.claim(A, "two") == Lease("held")
    assert ledger.claim(A, "one") == Lease("mine")
    let_pass(ledger, LEASE + 1)
    assert ledger.claim(A, "two") == Lease("taken", suspect=True)


def test_claim_by_many(ledger):
    """Of twenty that reach for a shard at once, one gets it."""
    enter(ledger, A)
    states = []
    threads = [
        threading.Thread(target=lambda name=name: states.append(ledger.claim(A, str(name)).state)) for name in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["held"] * 19 + ["taken"]


def test_remove_leaves_no_trace(ledger):
    """Once every shard is out and the job forgotten, nothing of them is left but the rank of the last one."""
    enter(ledger, C, A, B)
    for member in (C, A):
        assert ledger.choose(B) == member
        ledger.claim(member, "one")
    ledger.remove(C)
    ledger.give_back(A, "one", "first")
    ledger.claim(A, "one")
    let_pass(ledger, LEASE + 1)
    ledger.sweep()
    ledger.claim(A, "two")
    ledger.start_alone(A)
    assert ledger.remove(A)
    assert ledger.remove(B)
    assert ledger.counts() == Counts(0, 0, 0)
    assert ledger.client.hgetall(ledger.keys.tokens) == {b"total": b"0"}
    ledger.forget(JOB, ledger.mark(JOB))
    assert set(keys_of(ledger)) == {f"{OFFER.short}:{name}" for name in ("tokens", "ranks", "swept")} | {"offers"}
    assert ledger.client.hkeys(ledger.keys.ranks) == [b"now"]


def test_late_traces(ledger):
    """What a slow worker still does for a shard that another has finished leaves no trace of it either."""
    enter(ledger, A)
    ledger.claim(A, "one")
    ledger.remove(A)
    before = keys_of(ledger)
    assert ledger.start_alone(A) == 0
    assert ledger.renew([A], "one") == [A]
    assert not ledger.give_back(A, "one", "alone")
    assert keys_of(ledger) == before


def test_lease_runs_out(ledger):
    """A shard of a silent worker is given again exactly once, and is a suspect from then on."""
    enter(ledger, A, B)
    ledger.claim(A, "one")
    ledger.claim(B, "two")
    assert ledger.sweep() == []
    let_pass(ledger, LEASE - 1)
    assert ledger.sweep() == []
    ledger.renew([B], "two")
    let_pass(ledger, 2)
    assert ledger.sweep() == [A]
    assert ledger.sweep() == []
    assert ledger.claim(A, "three") == Lease("taken", suspect=True)
    let_pass(ledger, LEASE + 1)
    ledger.renew([B], "two")
    assert ledger.claim(A, "four") == Lease("taken", suspect=True)
    assert ledger.claim(A, "four") == Lease("mine", suspect=True)


def test_renew(ledger):
    """A lease stays as long as its worker lives, and is reported as lost once another worker has it."""
    enter(ledger, A)
    ledger.claim(A, "one")
    for _ in range(5):
        let_pass(ledger, LEASE - 1)
        assert ledger.renew([A], "one") == []
        assert ledger.sweep() == []
    let_pass(ledger, LEASE + 1)
    ledger.claim(A, "two")
    assert ledger.renew([A], "one") == [A]
    assert ledger.renew([], "one") == []


def test_renew_takes_again(ledger):
    """After a sweep by mistake, or an emptied server, who still works on a shard takes it again."""
    enter(ledger, A)
    ledger.claim(A, "one")
    let_pass(ledger, LEASE + 1)
    assert ledger.sweep() == [A]
    assert ledger.renew([A], "one") == []
    assert ledger.claim(A, "two") == Lease("held")
    for name in keys_of(ledger):
        ledger.client.delete(f"{ledger._namespace}:{name}")
    assert ledger.renew([A], "one") == [A]
    enter(ledger, A)
    assert ledger.renew([A], "one") == []
    assert ledger.claim(A, "two") == Lease("held")


def test_give_back(ledger):
    """A shard that is given back is free at once, for no fault of its own."""
    enter(ledger, A)
    ledger.claim(A, "one")
    assert not ledger.give_back(A, "two", "first")
    assert ledger.give_back(A, "one", "first")
    assert not ledger.give_back(A, "one", "first")
    assert ledger.claim(A, "two") == Lease("taken")


def test_renew_after_give_back(ledger):
    """A renewal that is too late for a shard given back doesn't take it again, because no worker computes it."""
    enter(ledger, A)
    ledger.claim(A, "one")
    ledger.give_back(A, "one", "first")
    assert ledger.renew([A], "one") == [A]
    assert ledger.claim(A, "two").state == "taken"


def test_give_back_after_sweep(ledger):
    """A shard given back after its lease was swept, and before anybody took it, is blameless as well."""
    enter(ledger, A)
    ledger.claim(A, "one")
    let_pass(ledger, LEASE + 1)
    assert ledger.sweep() == [A]
    assert ledger.give_back(A, "one", "first")
    assert ledger.claim(A, "two") == Lease("taken")


def test_taken_again_by_the_same(ledger):
    """A worker that takes a shard again after its lease ran out hasn't died of it; once one died alone, all beware."""
    enter(ledger, A)
    ledger.claim(A, "one")
    let_pass(ledger, LEASE + 1)
    assert ledger.claim(A, "one") == Lease("taken")
    let_pass(ledger, LEASE + 1)
    assert ledger.claim(A, "two") == Lease("taken", suspect=True)
    ledger.start_alone(A)
    let_pass(ledger, LEASE + 1)
    assert ledger.claim(A, "one") == Lease("taken", suspect=True)


def test_suspect_given_back(ledger):
    """A suspect stays one when it is given back before its start; its lonely starts are counted alone."""
    enter(ledger, A)
    ledger.claim(A, "one")
    let_pass(ledger, LEASE + 1)
    assert ledger.claim(A, "two").suspect
    assert ledger.give_back(A, "two", "none")
    assert ledger.claim(A, "three").suspect
    assert ledger.start_alone(A) == 1
    assert ledger.give_back(A, "three", "alone")
    assert ledger.claim(A, "three").suspect
    assert ledger.start_alone(A) == 1


def test_lonely_starts(ledger):
    """Starts alone are counted once for each worker: who starts twice, or asks twice, hasn't died of it."""
    enter(ledger, A)
    for starts, worker in enumerate(("one", "two", "three"), 1):
        ledger.claim(A, worker)
        assert ledger.start_alone(A) == starts
        assert ledger.start_alone(A) == starts
        let_pass(ledger, LEASE + 1)
        ledger.claim(A, worker)
        assert ledger.start_alone(A) == starts
        let_pass(ledger, LEASE + 1)


def test_lost_message(ledger):
    """Any message serves any shard, so a lost one is noticed when none is left and a shard still waits."""
    enter(ledger, A, B, C)
    push(ledger, B, C)
    let_pass(ledger, 1000)
    assert ledger.sweep() == []
    for hint, member in ((B, A), (C, B)):
        assert ledger.choose(hint) == member
        ledger.claim(member, "one")
    let_pass(ledger, 0)
    assert ledger.sweep() == [], "there are messages"
    ledger.client.delete(ledger.keys.queue)
    let_pass(ledger, 0)
    assert ledger.sweep() == [C]
    let_pass(ledger, 0)
    assert ledger.sweep() == []


def test_shards_without_a_rank(ledger):
    """A shard that no message would reach, because the order was lost, is found while messages wait."""
    enter(ledger, A, B)
    ledger.client.delete(ledger.keys.order)
    push(ledger, A, B)
    assert ledger.choose(B) == B, "its own message reaches it"
    ledger.claim(B, "one")
    enter(ledger, C)
    assert ledger.choose(C) == C
    ledger.claim(C, "one")
    let_pass(ledger, LEASE + 1)
    ledger.renew([B, C], "one")
    assert ledger.sweep() == [A]
    assert ledger.choose(C) == A


def test_fresh_message(ledger):
    """A message younger than a lease is never taken for lost: it may be on its way."""
    enter(ledger, A)
    let_pass(ledger, LEASE - 1)
    assert ledger.sweep() == []
    let_pass(ledger, 2)
    assert ledger.sweep() == [A]


def of(job_key, count, life=0):
    return [Member(job_key, Life(ShardId(index, "ab" * 6), life)) for index in range(count)]


def turns(ledger, count):
    """What the ledger chooses for some messages, which name one shard: the jobs of the shards that are claimed."""
    chosen = [ledger.choose(A) for _ in range(count)]
    for member in chosen:
        assert ledger.claim(member, "one") == Lease("taken")
    return chosen


def test_one_job_in_order(ledger):
    """The shards of one job are chosen in the order in which they were entered, whatever the messages name."""
    members = of(OTHER_JOB, 20)
    enter(ledger, *members[:10])
    enter(ledger, *members[10:])
    assert turns(ledger, 20) == members
    assert ledger.choose(A) == A, "nothing waits any more"


def test_a_small_job_behind_a_large_one(ledger):
    """The next message after it was entered, or the one after that, is for the small job."""
    large, small = of(OTHER_JOB, 1000), of(JOB, 3)
    enter(ledger, *large)
    turns(ledger, 100)
    enter(ledger, *small)
    chosen = turns(ledger, 6)
    assert [member for member in chosen if member.job_key == JOB] == small
    assert JOB in (chosen[0].job_key, chosen[1].job_key)
    assert turns(ledger, 897) == large[103:]


@pytest.mark.parametrize(("priority", "share"), [(None, 0.5), (10, 0.5), (30, 0.75), (90, 0.9), (1, 1 / 11)])
def test_priority(ledger, priority, share):
    """A job gets its share of the tokens, which is its priority against that of the others; shards differ in size."""
    for job_key, tokens, given in ((JOB, 7, None), (OTHER_JOB, 21, priority)):
        entered = [(member, tokens) for member in of(job_key, 400)]
        ledger.enter(job_key, "/out", None, entered, 1, given)
    sizes = {JOB: 0, OTHER_JOB: 0}
    for member in turns(ledger, 300):
        sizes[member.job_key] += 21 if member.job_key == OTHER_JOB else 7
    assert sizes[OTHER_JOB] / sum(sizes.values()) == pytest.approx(share, abs=0.03)


def test_priority_is_kept(ledger):
    """A process that knows no priority leaves it; it is forgotten with its job."""
    ledger.enter(JOB, "/out", None, [(A, 10)], 1, 90)
    ledger.enter(JOB, "/out", 1, [(B, 10)], 2)
    assert ledger.client.hget(ledger.keys.priorities, JOB) == b"90"
    ledger.cancel(JOB)
    assert not ledger.client.exists(ledger.keys.priorities)


def test_a_job_gains_nothing_by_waiting(ledger):
    """A job that had nothing to compute while another one was computed doesn't get all turns afterwards."""
    enter(ledger, *of(JOB, 2))
    turns(ledger, 2)
    enter(ledger, *of(OTHER_JOB, 200))
    turns(ledger, 100)
    enter(ledger, *of(JOB, 50, life=1))
    assert sum(member.job_key == JOB for member in turns(ledger, 40)) == pytest.approx(20, abs=1)


def test_chosen_and_not_claimed(ledger):
    """The worker died in between, or its answer was lost: a lease later the shard's message is sent again."""
    enter(ledger, A, B)
    push(ledger, B)
    assert ledger.choose(B) == A
    let_pass(ledger, LEASE - 1)
    assert ledger.sweep() == []
    let_pass(ledger, 2)
    assert ledger.sweep() == [A]
    assert ledger.choose(B) == A, "its turn has come before"
    assert ledger.claim(A, "one") == Lease("taken"), "nothing was started"


def test_put_off(ledger):
    """A shard that a worker can't use now takes no other message until a lease is over."""
    enter(ledger, A, B)
    push(ledger, A)
    assert ledger.choose(A) == A
    ledger.claim(A, "one")
    assert ledger.give_back(A, "one", "first", at_once=False)
    assert ledger.choose(A) == B
    ledger.claim(B, "one")
    let_pass(ledger, LEASE + 1)
    ledger.renew([B], "one")
    assert ledger.sweep() == [A]


def test_without_some_jobs(ledger):
    """A receiver that leaves a job to others gets the next shard of another job, however many are before it."""
    enter(ledger, *of(JOB, 300))
    enter(ledger, *of(OTHER_JOB, 2))
    first, second = of(OTHER_JOB, 2)
    assert ledger.choose(A, [JOB]) == first
    ledger.claim(first, "one")
    assert ledger.choose(A, [JOB]) == second
    ledger.claim(second, "one")
    assert ledger.choose(A, [JOB]) is None, "others must get the message"
    assert turns(ledger, 300) == of(JOB, 300), "in their order, and none of them is missing"
    assert ledger.choose(A, [JOB]) == A, "nothing waits, so the message may be dropped"


def test_what_is_left_out_keeps_its_turn(ledger):
    """A new job begins where work is now, which isn't where the one worker is that leaves a job out."""
    enter(ledger, *of(JOB, 1000))
    turns(ledger, 10)
    enter(ledger, *of(OTHER_JOB, 1000))
    for _ in range(500):
        ledger.claim(ledger.choose(A, [JOB]), "two")
    third = "2" * 16
    enter(ledger, *of(third, 1))
    assert third in [member.job_key for member in turns(ledger, 4)]


def test_given_back_is_next(ledger):
    """A shard that a stopping worker has begun goes first."""
    enter(ledger, A, B, C)
    assert turns(ledger, 2) == [A, B]
    ledger.give_back(A, "one", "first")
    assert ledger.choose(C) == A


@pytest.mark.parametrize("number", [b"", b"abc", b"nan", b"inf", b"-1", b"1e300", b"0", b"-inf", b"0x"])
def test_hostile_ranks(ledger, number):
    """Whatever somebody writes there, shards are entered, chosen and given back."""
    for field in ("now", JOB):
        ledger.client.hset(ledger.keys.ranks, field, number)
    ledger.client.hset(ledger.keys.priorities, JOB, number)
    ledger.client.zadd(ledger.keys.order, {b"\xff": 0, "": 1, f"{JOB}/x": 2, str(C): 3})
    enter(ledger, A, B)
    assert turns(ledger, 2) == [A, B]
    assert ledger.give_back(A, "one", "first")
    let_pass(ledger, LEASE + 1)
    assert set(ledger.sweep()) == {A, B}
    assert {ledger.choose(A), ledger.choose(A)} == {A, B}


def test_hostile_choice(ledger):
    """A member that names no shard is thrown out, and the next one is chosen."""
    for name in ("ledger", "order"):
        ledger.client.zadd(getattr(ledger.keys, name), {"../../etc/passwd": 2 * MARKS, b"\xff": 2 * MARKS + 1})
    enter(ledger, A)
    let_pass(ledger, 0)
    assert ledger.choose(B) in (A, B)
    assert ledger.choose(A) == A
    assert ledger.counts().shards == 1


def test_two_sweepers(ledger):
    """However many sweep at once, each shard is sent again by one of them."""
    members = [Member(JOB, Life(ShardId(index, "0123456789ab"), 0)) for index in range(500)]
    enter(ledger, *members)
    for member in members[::2]:
        ledger.claim(member, "dead")
    let_pass(ledger, LEASE + 1)
    found = []
    sweepers = [threading.Thread(target=lambda: found.extend(ledger.sweep())) for _ in range(4)]
    for thread in sweepers:
        thread.start()
    for thread in sweepers:
        thread.join()
    assert sorted(found) == members


def test_sweep_after_silence(ledger):
    """If no worker could sweep for a while, holders get time to renew before they lose their leases."""
    enter(ledger, A, B)
    ledger.claim(A, "alive")
    ledger.claim(B, "dead")
    assert ledger.sweep() == []
    let_pass(ledger, LEASE + SILENCE_SECONDS + 1, swept=False)
    assert ledger.sweep() == []
    ledger.renew([A], "alive")
    assert ledger.sweep() == []
    let_pass(ledger, RENEWAL_SECONDS + SWEEP_PAUSE_SECONDS, swept=False)
    assert ledger.sweep() == [B]


def test_clock_set_back(ledger):
    """When the server's clock is set back, by a failover say, sweeping goes on, and dead workers' leases run out."""
    enter(ledger, A, B, C)
    ledger.claim(A, "dead")
    ledger.claim(B, "alive")
    ledger.sweep()
    push(ledger, C)
    let_pass(ledger, -3600, swept=False)
    assert ledger.sweep() == [], "everything is an hour ahead now"
    assert ledger.sweep() == []
    let_pass(ledger, LEASE + 1, swept=False)
    ledger.renew([B], "alive")
    assert ledger.sweep() == [], "a silence, and time to renew"
    let_pass(ledger, RENEWAL_SECONDS + SWEEP_PAUSE_SECONDS, swept=False)
    assert ledger.sweep() == [A]
    assert ledger.choose(C) == A
    ledger.give_back(A, "dead", "first", at_once=False)
    let_pass(ledger, -3600, swept=False)
    assert ledger.sweep() == [], "everything is an hour ahead again"
    let_pass(ledger, LEASE + 1, swept=False)
    assert ledger.sweep() == [], "a silence"
    let_pass(ledger, RENEWAL_SECONDS + SWEEP_PAUSE_SECONDS, swept=False)
    assert A in ledger.sweep(), "it was put off for a lease, not for an hour"


@pytest.mark.parametrize("member", ["../../etc/passwd", "total", "a/b/c", f"{JOB}/x", "", b"\xff\xfe", "[" * 10_000])
def test_hostile_members(ledger, member):
    """What is no shard is thrown out of the ledger, and keeps no shard from being sent again."""
    ledger.client.zadd(ledger.keys.ledger, {member: 1})
    ledger.client.zadd(ledger.keys.leases, {member: 1})
    enter(ledger, A)
    let_pass(ledger, LEASE + 1)
    assert ledger.sweep() == [A]
    assert ledger.counts() == Counts(1, 0, 10)
    assert ledger.members(JOB) == ({A.life}, set())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'"until"',
        b'{"until": 1e999, "offer": "m"}',
        b'{"until": NaN, "offer": "m"}',
        b'{"until": "soon", "offer": "m"}',
        b'{"until": 1e300, "offer": "m"}',
        b'{"until": 99999999999, "offer": 3}',
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
def test_hostile_heartbeats(ledger, raw):
    """A malformed heartbeat is removed; the other workers are still listed."""
    ledger.beat("well", {"engine": "fused"})
    ledger.client.hset(ledger.keys.workers, "hostile", raw)
    ledger.client.hset(ledger.keys.workers, b"\xfe", raw)
    assert list(ledger.workers()) == ["well"]
    assert ledger.client.hlen(ledger.keys.workers) == 1


def test_heartbeats(ledger):
    """A worker is listed with its facts until it leaves, or is silent for a few leases."""
    ledger.beat("one", {"engine": "fused"})
    ledger.beat("two", {})
    facts = ledger.workers()["one"]
    assert (facts["engine"], facts["offer"]) == ("fused", str(OFFER))
    ledger.leave("two")
    assert set(ledger.workers()) == {"one"}
    old = json.dumps({**facts, "until": facts["until"] - 3 * LEASE})
    ledger.client.hset(ledger.keys.workers, "one", old)
    assert ledger.workers() == {}


def test_a_worker_with_the_longest_lease_is_alive(client, ledger):
    """Its heartbeat lasts for two leases, longer than a day."""
    longest = Ledger(client, ledger._namespace, OFFER, DAY)
    longest.beat("patient", {})
    assert set(ledger.workers()) == {"patient"}


def test_a_lease_that_has_expired_is_held_by_no_worker(ledger):
    """In the figures; the shard that it was for waits again."""
    enter(ledger, A, B)
    ledger.claim(A, "one")
    let_pass(ledger, 10)
    assert (ledger.counts().running, ledger.oldest_seconds() >= 10) == (1, True)
    ledger.claim(B, "one")
    assert (ledger.counts().running, ledger.oldest_seconds()) == (2, 0)
    let_pass(ledger, LEASE)
    assert (ledger.counts().running, ledger.oldest_seconds() >= LEASE) == (0, True)


def test_offers_that_are_not_used_leave_the_list(client, ledger):
    """Only when there are very many: each new model is another offer, and each heartbeat asks for all of them."""
    offers = [Offer(f"{number:012x}{0:052x}", "fused", "float32") for number in range(MOST_OFFERS + 9)]
    enter(Ledger(client, ledger._namespace, offers[3], LEASE), A)
    for offer in offers[12:]:  # of their jobs nothing waits now; more may come
        Ledger(client, ledger._namespace, offer, LEASE).enter(OTHER_JOB, "/other", None, [], 1)
    client.sadd(ledger.keys.offers, *map(str, offers[:MOST_OFFERS]))
    client.srem(ledger.keys.offers, *map(str, offers[MOST_OFFERS:]))
    assert ledger.other_offers() == {offers[3]}
    assert client.scard(ledger.keys.offers) == MOST_OFFERS
    client.sadd(ledger.keys.offers, *map(str, offers))
    eventually(
        lambda: ledger.other_offers() == {offers[3]} and client.scard(ledger.keys.offers) == MOST_OFFERS, "9 off"
    )
    listed = client.smembers(ledger.keys.offers)
    assert all(str(offer).encode() in listed for offer in (offers[3], *offers[12:]))


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b'{"place": 3}', b"{}", b"[" * 100_000])
def test_hostile_registration(ledger, raw):
    """A registration that is none reads as none."""
    ledger.client.hset(ledger.keys.jobs, JOB, raw)
    assert ledger.place_of(JOB) is None


def test_offers_and_namespaces_apart(client, ledger):
    """Two offers, or two namespaces, share a server without interference; an offer sees that another one waits."""
    other_offer = Ledger(client, ledger._namespace, OTHER_OFFER, LEASE)
    other_space = Ledger(client, f"{ledger._namespace}-2", OFFER, LEASE)
    enter(ledger, A)
    for other in (other_offer, other_space):
        assert other.claim(A, "one") == Lease("gone")
        assert other.counts() == Counts(0, 0, 0)
        assert not other.remove(A)
        assert other.members(JOB) == (set(), set())
    enter(other_offer, A, tokens=7)
    enter(other_space, A, tokens=8)
    assert [each.counts().tokens for each in (ledger, other_offer, other_space)] == [10, 7, 8]
    assert ledger.other_offers() == {OTHER_OFFER}
    assert other_space.other_offers() == set()
    client.sadd(ledger.keys.offers, b"\xff\xff")
    assert ledger.other_offers() == {OTHER_OFFER}


def test_members_of_a_job(ledger):
    """A job's shards are distinguished from another job's."""
    enter(ledger, A, B)
    other = Member(OTHER_JOB, A.life)
    enter(ledger, other)
    ledger.claim(A, "one")
    ledger.claim(other, "one")
    assert ledger.members(JOB) == ({A.life, B.life}, {A.life})
    assert ledger.running(JOB) == ({A.life}, 1)


@pytest.fixture
def full_memory(client):
    """Call it, and the server has no memory left until the test ends."""
    yield lambda: client.config_set("maxmemory", "1mb")
    client.config_set("maxmemory", "0")


def test_cancelling_in_full_memory(ledger, full_memory):
    """A job can be cancelled when the server is full, which may be why it is cancelled."""
    enter(ledger, A, B)
    ledger.claim(A, "one")
    full_memory()
    assert ledger.cancel(JOB) == 2
    assert ledger.counts() == Counts(0, 0, 0)
    assert ledger.place_of(JOB) is None


class Script:
    """A script that something happens before: `meanwhile` is called with the number of each run, from 0."""

    def __init__(self, ledger, meanwhile):
        self.runs, self.sizes = 0, []
        self._run, self._meanwhile = ledger._scripts.run, meanwhile
        ledger._scripts.run = self

    def __call__(self, name, *members, **arguments):
        if name == "cancel":
            self.sizes.append(len(members))
            self.runs += 1
            self._meanwhile(self.runs - 1)
        return self._run(name, *members, **arguments)


def many(count):
    return [Member(JOB, Life(ShardId(index, "ab" * 6), 0)) for index in range(count)]


def test_a_large_job_is_cancelled_in_steps(ledger):
    """No step removes many shards, because the server answers no other question meanwhile; other jobs stay."""
    members = many(3 * CANCEL_CHUNK + 1)
    enter(ledger, *members)
    enter(ledger, other := Member(OTHER_JOB, A.life))
    script = Script(ledger, lambda _: None)
    assert ledger.cancel(JOB) == len(members)
    assert script.sizes == [0, CANCEL_CHUNK, CANCEL_CHUNK, CANCEL_CHUNK, 1]
    assert (ledger.mark(JOB), ledger.place_of(JOB)) == (None, None)
    assert (ledger.counts(), ledger.members(OTHER_JOB)[0]) == (Counts(1, 0, 10), {other.life})


@pytest.mark.parametrize("step", range(1, 4))
def test_a_process_that_dies_while_it_cancels(ledger, step):
    """The job then has a negative mark, so that it is cancelled again, or entered again from its log."""
    members = many(2 * CANCEL_CHUNK + 1)
    enter(ledger, *members)

    def die(run):
        if run == step:
            raise InterruptedError

    script = Script(ledger, die)
    with pytest.raises(InterruptedError):
        ledger.cancel(JOB)
    assert ledger.mark(JOB) < 0
    assert ledger.place_of(JOB) is not None
    assert len(ledger.members(JOB)[0]) == ledger.known([JOB])[0].left == len(members) - (step - 1) * CANCEL_CHUNK
    assert script.runs == step + 1
    ledger.cancel(JOB)
    assert (ledger.mark(JOB), ledger.members(JOB)[0], ledger.counts()) == (None, set(), Counts(0, 0, 0))


def test_a_job_that_is_entered_again_while_it_is_cancelled(ledger):
    """A process that needs the job has seen that everything was lost, and has entered everything: it stays."""
    members = many(2 * CANCEL_CHUNK + 1)
    enter(ledger, *members)

    def resume(run):
        if run == 2:
            ledger.enter(JOB, "/out", ledger.mark(JOB), [(member, 10) for member in members], 7)

    Script(ledger, resume)
    assert ledger.cancel(JOB) == CANCEL_CHUNK
    assert ledger.known([JOB]) == [Known(7, len(members))]
    assert ledger.members(JOB)[0] == {member.life for member in members}
    assert ledger.counts() == Counts(len(members), 0, 10 * len(members))


def test_forgetting(ledger):
    """A complete job goes, with what its workers haven't taken out; a job that a retry has made longer stays."""
    enter(ledger, A, B)
    mark = ledger.mark(JOB)
    assert ledger.forget(JOB, mark - 1) == 0
    assert ledger.mark(JOB) == mark
    assert ledger.forget(JOB, mark) == 2
    assert (ledger.mark(JOB), ledger.place_of(JOB), ledger.counts()) == (None, None, Counts(0, 0, 0))
    assert ledger.forget(JOB, mark) == 0


def test_a_job_that_is_being_entered_is_not_forgotten(ledger):
    """Its mark is below zero until all that waits is in the ledger."""
    assert ledger.enter(JOB, "/out", None, [(A, 10)], -5) == [A]
    assert ledger.forget(JOB, 3) == 0
    assert ledger.mark(JOB) == -5


@pytest.mark.parametrize("size", [b"-1000000", b"abc", b"", b"1e300", b"1000000000000"])
@pytest.mark.parametrize("leave", [Ledger.remove, lambda ledger, _: ledger.cancel(JOB)], ids=["remove", "cancel"])
def test_hostile_counts(ledger, leave, size):
    """A count that somebody spoilt keeps no shard in the ledger."""
    enter(ledger, A)
    for field in (str(A), "total"):
        ledger.client.hset(ledger.keys.tokens, field, size)
    assert ledger.claim(A, "one") == Lease("taken")
    assert leave(ledger, A) == 1
    assert ledger.claim(A, "one") == Lease("gone")


def test_full_memory(ledger, full_memory):
    """On a server without any memory left nothing is entered, but finished shards leave."""
    enter(ledger, A, B)
    ledger.claim(A, "one")
    full_memory()
    with pytest.raises(redis.OutOfMemoryError):
        tell(ledger, C)
    assert ledger.remove(A)
    assert ledger.counts() == Counts(1, 0, 10)


@dataclass
class Shard:
    """What the plain model knows of one shard; times are counted in steps that are longer than a lease."""

    holder: str | None = None
    taken: int = 0
    started: str = ""
    lonely: int = 0
    last_lonely: str = ""


class LedgerMachine(RuleBasedStateMachine):
    """Producers, workers that die and sweepers, on the server and in the model, with a real queue between.

    A message is popped and taken up, or lost with the worker that popped it; or it turns up again at the head
    of the queue, as the transport's own recovery does.
    """

    client: redis.Redis
    workers = st.sampled_from(["one", "two", "three"])
    shards = st.sampled_from(SHARDS)

    def __init__(self):
        super().__init__()
        self.ledger = Ledger(self.client, f"m{uuid.uuid4().hex[:8]}", OFFER, LEASE)
        self.model: dict[Member, Shard] = {}
        self.now = 0
        self.queue: list[Member] = []  # the oldest first
        self.popped: list[Member] = []

    def teardown(self):
        for name in keys_of(self.ledger):
            self.client.delete(f"{self.ledger._namespace}:{name}")

    def send(self, member):
        self.queue.append(member)
        push(self.ledger, member)

    @rule(member=shards)
    def enter(self, member):
        assert tell(self.ledger, member, tokens=SHARDS.index(member) + 1) == ([] if member in self.model else [member])
        if member not in self.model:
            self.model[member] = Shard()
            self.send(member)

    @rule(member=shards)
    def enter_without_message(self, member):
        """The producer dies between the two."""
        assert tell(self.ledger, member, tokens=SHARDS.index(member) + 1) == ([] if member in self.model else [member])
        self.model.setdefault(member, Shard())

    @precondition(lambda self: self.queue)
    @rule(worker=workers)
    def take(self, worker):
        self.claim(self.choose(self.pop()), worker)

    @precondition(lambda self: self.queue)
    @rule()
    def choose_and_die(self):
        self.choose(self.pop())

    @rule(member=shards, worker=workers)
    def claim(self, member, worker):
        shard = self.model.get(member)
        claim = self.ledger.claim(member, worker)
        if shard is None:
            assert claim == Lease("gone")
        else:
            suspect = shard.started not in ("", worker) or shard.lonely > 0
            held = shard.holder and shard.taken == self.now
            if held and shard.holder != worker:
                assert claim == Lease("held")
                return
            assert claim == Lease("mine" if held else "taken", suspect)
            shard.holder, shard.taken = worker, self.now
            shard.started = shard.started or worker

    def choose(self, hint):
        """Which shard has its turn is the matter of other tests; here, one that waits, where one does."""
        chosen = self.ledger.choose(hint)
        assert chosen == hint or not self.is_held(chosen)
        return chosen

    def is_held(self, member):
        shard = self.model[member]
        return bool(shard.holder) and shard.taken == self.now

    @precondition(lambda self: self.queue)
    @rule()
    def pop_and_die(self):
        self.popped.append(self.pop())

    @precondition(lambda self: self.popped)
    @rule()
    def restore(self):
        member = self.popped.pop(0)
        self.queue.insert(0, member)
        self.client.rpush(self.ledger.keys.queue, str(member))

    @rule()
    def time_passes(self):
        let_pass(self.ledger, 2 * LEASE)
        self.now += 1

    @rule(member=shards, worker=workers)
    def renew(self, member, worker):
        shard = self.model.get(member)
        kept = shard is not None and shard.holder in (worker, None)
        assert self.ledger.renew([member], worker) == ([] if kept else [member])
        if kept:
            shard.holder, shard.taken = worker, self.now

    @rule(member=shards, worker=workers)
    def start_alone(self, member, worker):
        shard = self.model.get(member)
        if shard is None or shard.holder != worker:
            return
        if shard.last_lonely != worker:
            shard.lonely, shard.last_lonely = shard.lonely + 1, worker
        assert self.ledger.start_alone(member) == shard.lonely

    @rule(member=shards, worker=workers, start=st.sampled_from(["first", "alone", "none"]), at_once=st.booleans())
    def give_back(self, member, worker, start, at_once):
        shard = self.model.get(member)
        mine = shard is not None and shard.holder in (worker, None)
        assert self.ledger.give_back(member, worker, start, at_once=at_once) is mine
        if mine:
            shard.holder = ""
            if start == "alone":
                shard.lonely, shard.last_lonely = max(0, shard.lonely - 1), ""
            elif start == "first":
                shard.started = ""
            if at_once:
                self.send(member)

    @rule(member=shards)
    def remove(self, member):
        assert self.ledger.remove(member) is (self.model.pop(member, None) is not None)

    @rule()
    def sweep(self):
        let_pass(self.ledger, 0)
        again = self.ledger.sweep()
        expired = {m for m, s in self.model.items() if s.holder and s.taken < self.now}
        assert expired <= set(again) <= self.model.keys()
        assert len(set(again)) == len(again)
        for member in again:
            assert not self.is_held(member)
            if member in expired:
                self.model[member].holder = None
            self.send(member)

    @invariant()
    def nothing_drifts(self):
        tokens = sum(SHARDS.index(member) + 1 for member in self.model)
        running = sum(1 for shard in self.model.values() if shard.holder and shard.taken >= self.now)
        assert self.ledger.counts() == Counts(len(self.model), running, tokens)

    def pop(self):
        raw = self.client.rpop(self.ledger.keys.queue)
        member = self.queue.pop(0)
        assert raw.decode() == str(member)
        return member


def test_against_a_model(client):
    """Whatever producers, workers and sweepers do, in any order, the ledger is what a plain model says."""
    machine = type("Machine", (LedgerMachine,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_nothing_is_lost_for_good(client):
    """After any of these events, one sweeper and one worker finish every shard."""

    class Machine(LedgerMachine):
        def teardown(self):
            for _ in range(20):
                if not self.model:
                    break
                while self.queue:
                    self.take("alive")
                for member, shard in list(self.model.items()):
                    if shard.holder == "alive":
                        self.remove(member)
                self.time_passes()
                self.sweep()
            assert not self.model
            super().teardown()

    Machine.client = client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
