"""The ledger: the shards of one offer that wait for their part, and the worker that holds each of them.

The ledger is in Redis (`unrolled.queue.keys`). Lua scripts change it (`unrolled/queue/scripts`), each as a whole or not
at all, on the server's clock. A shard is in the ledger from before its message is sent until its part is durable.
The messages of shards that no worker holds are sent again (`Ledger.sweep`).

Jobs take turns: a message says that some shard waits, and the ledger chooses which (`Ledger.choose`). Each job gets a
share of the tokens in proportion to its priority, and the shards of one job are chosen in the order of their entry.

The job's log decides what exists; the ledger only repeats it. A job's mark is the number of segments that were entered.
A ledger that was lost is filled again from the log, so losing it costs only time.
"""

# Over 150 lines: one short method for each operation on a ledger, most of it documentation.

from __future__ import annotations

import contextlib
import json
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from unrolled.errors import PayloadError
from unrolled.job.offer import Offer
from unrolled.queue.keys import Keys
from unrolled.queue.member import Member
from unrolled.queue.priority import NORMAL_PRIORITY
from unrolled.queue.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import redis

    from unrolled.job.names import Life

#: Lower scores are marks of jobs; scores from here on are sending times of shards.
MARKS = 1_000_000_000
#: Most members that one sweep returns of each kind; the next sweep returns more.
SWEEP_LIMIT = 10_000
#: Most shards that a sweep looks at for lost ranks while messages wait.
SWEEP_FEW = 100
#: Shards that one script removes; the server is busy with it for about a millisecond.
CANCEL_CHUNK = 100
#: Seconds between two sweeps of all workers together, because a sweep reads all running shards.
SWEEP_PAUSE_SECONDS = 1.0
#: Workers sweep every few seconds. If none has for SILENCE_SECONDS, the server was away, and sweeping waits for
#: RENEWAL_SECONDS, so that living workers can renew the leases that expired meanwhile.
SILENCE_SECONDS, RENEWAL_SECONDS = 5.0, 3.0
#: A worker is removed from the list when its last heartbeat is this many leases old.
HEARTBEAT_LEASES = 2
#: Longest time for which a heartbeat is believed, whatever it contains.
LONGEST_HEARTBEAT_SECONDS = HEARTBEAT_LEASES * 86_400.0
#: More offers than these are listed only while their ledgers have a job.
MOST_OFFERS = 200
#: Most offers that one heartbeat takes off the list.
_UNLISTED = 20

#: The start that is counted for a shard on board: its first start, a start with nothing else on board, or none yet, for
#: a suspect that waits until the other shards have left.
Start = Literal["first", "alone", "none"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The ledger's answer to a claim.

    Attributes:
        state: "taken": this worker has the lease now. "mine": it had the lease before, because this is a second
            message, the answer to an earlier claim was lost, or a renewal was first. "held": another worker has the
            lease. "gone": the shard isn't in the ledger, so there is nothing to do.
        suspect: another worker started the shard and neither finished it nor gave it back, so the shard may have
            killed that worker. True only if this worker has the lease.
    """

    state: Literal["taken", "mine", "held", "gone"]
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """The size of a ledger at one moment.

    Attributes:
        shards: shards without a part, the running ones included.
        running: shards under a lease.
        tokens: token ids in all of them.
    """

    shards: int
    running: int
    tokens: int


class Known(NamedTuple):
    """The state of a job in the ledger.

    Attributes:
        mark: number of segments of the job's log that were entered; negative during an update from scratch; None if the
            ledger lacks the job.
        left: number of lives of the job in the ledger: a hint when a look at the job is worthwhile, never a proof.
        over: whether a worker has just seen that nothing is left to do for the job (`Ledger.say_over`); also a hint.
    """

    mark: int | None
    left: int
    over: bool = False


class Ledger:
    """The ledger of one offer.

    Every method that asks the server raises `redis.RedisError` if the server is away, refuses, or can't do it now, for
    example because its memory is full. All methods are safe to repeat.

    Args:
        client: a Redis client that returns bytes.
        namespace: prefix of every key, so that installations can share a database.
        offer: the offer of the jobs in it.
        lease_seconds: how long a worker may be silent before the messages of its shards are sent again.

    Attributes:
        client: the client.
        offer: the offer.
        lease_seconds: the length of a lease.
        keys: the ledger's keys in Redis.
    """

    def __init__(self, client: redis.Redis, namespace: str, offer: Offer, lease_seconds: float = 30.0) -> None:
        self.client = client
        self.offer = offer
        self.lease_seconds = lease_seconds
        self.keys = Keys.of(namespace, offer)
        self._namespace = namespace
        self._scripts = Scripts(client, self.keys)

    def mark(self, job_key: str) -> int | None:
        """A job's mark, see `Known`.

        Raises:
            redis.RedisError: see the class. Every method raises it.
        """
        return self.known([job_key])[0].mark

    def enter(
        self,
        job_key: str,
        place: str,
        expected: int | None,
        members: Sequence[tuple[Member, int]],
        becomes: int,
        priority: int | None = None,
    ) -> list[Member] | None:
        """Enter lives of a job's shards, and move its mark, in one step.

        Args:
            job_key: the job's key.
            place: path or URL of the job's store, which is registered with the job.
            expected: the mark that the caller has read.
            members: lives, each with its number of token ids; lives that are in the ledger stay as they are.
            becomes: the new mark.
            priority: the job's share of the workers, against other jobs' shares, for lives that are entered from now
                on; None for what the ledger knows, or else NORMAL_PRIORITY.

        Returns:
            The new members, whose messages the caller sends; None if the mark isn't the expected one.
        """
        pairs = [text for member, tokens in members for text in (str(member), tokens)]
        moved, new = self._scripts.run(
            "enter",
            *pairs,
            job_key=job_key,
            job=json.dumps({"place": place}),
            expected="" if expected is None else expected,
            becomes=becomes,
            offer=str(self.offer),
            priority="" if priority is None else priority,
            normal_priority=NORMAL_PRIORITY,
        )
        return [Member.parse(as_text(raw)) for raw in new] if moved else None

    def choose(self, hint: Member, without: Collection[str] = ()) -> Member | None:
        """Choose the shard that the receiver of a message computes next, in the turn of its job.

        If the receiver doesn't claim the shard, a sweep sends its message again after a lease.

        Args:
            hint: the shard that the message names.
            without: keys of the jobs that the receiver leaves to other workers.

        Returns:
            The shard; the hint if no shard waits; None if only shards of the jobs in `without` wait, or so many of them
            are before any other that it wasn't found.
        """
        for _ in range(SWEEP_FEW):
            raw = self._scripts.run("choose", *without, hint=str(hint), lease_seconds=self.lease_seconds)
            if raw is None:
                return None
            try:
                return Member.parse(as_text(raw))
            except PayloadError:
                self._throw_out(raw)
        return hint

    def claim(self, member: Member, holder: str) -> Lease:
        """Take the lease of a shard, unless another worker has it. The first start is recorded in the same step.

        Args:
            member: the shard.
            holder: the worker that asks.
        """
        state, suspect = self._scripts.run("claim", member=str(member), holder=holder, lease_seconds=self.lease_seconds)
        return Lease(as_text(state), bool(suspect))  # type: ignore[arg-type]  # claim.lua has no other states

    def start_alone(self, member: Member) -> int:
        """Record that the holder of a suspect starts it with nothing else on board.

        Returns:
            How many workers have started it alone, this one included; 0 if the shard isn't in the ledger. A worker
            counts once, however often it starts the shard.
        """
        return int(self._scripts.run("start_alone", member=str(member)))

    def renew(self, members: Collection[Member], holder: str) -> list[Member]:
        """Extend the leases of a worker.

        Args:
            members: the shards that it holds.
            holder: the worker.

        Returns:
            The shards that another worker has taken, that were given back, or that aren't in the ledger.
        """
        if not members:
            return []
        lost = self._scripts.run("renew", *map(str, members), holder=holder, lease_seconds=self.lease_seconds)
        return [Member.parse(as_text(raw)) for raw in lost]

    def remove(self, member: Member) -> bool:
        """Remove a shard, because its part or its record of death is durable.

        Returns:
            False if the shard wasn't in the ledger.
        """
        return bool(self._scripts.run("remove", member=str(member), job_key=member.job_key))

    def cancel(self, job_key: str) -> int:
        """Remove a job, its mark and all its shards, even if the server's memory is full.

        Returns:
            How many shards there were.
        """
        return take_out(self, job_key)

    def forget(self, job_key: str, length: int) -> int:
        """Remove a complete job, unless its log has grown since.

        Args:
            job_key: the job's key.
            length: number of segments of the log when the job was complete. If the mark is higher, nothing is removed.

        Returns:
            How many shards there were. Their workers have published and not yet removed them.
        """
        return take_out(self, job_key, length)

    def entered(self, job_key: str) -> list[Any]:
        """The members of a job that are in the ledger, as Redis holds them."""
        prefix, found = f"{job_key}/".encode(), self.client.zrange(self.keys.ledger, 0, -1)
        return [raw for raw in cast("list[bytes]", found) if raw.startswith(prefix)]

    def take_some_out(
        self, job_key: str, lowest: int | None, highest: int | None, members: Sequence[Any], becomes: int | None
    ) -> int | None:
        """Take some members of a job out, and move its mark, in one step; see `take_out`.

        Args:
            job_key: of the job.
            lowest: the mark is from here, or anything, or missing, where this is None,
            highest: to here.
            members: some of what `entered` gave.
            becomes: the mark from now on; None to take out the mark, too, and what is known of the job.

        Returns:
            How many members were there; None where the mark is another.
        """
        given = ["" if number is None else number for number in (lowest, highest, becomes)]
        arguments = dict(zip(("lowest", "highest", "becomes"), given, strict=True))
        count = int(self._scripts.run("cancel", *members, job_key=job_key, **arguments))
        return None if count < 0 else count

    def give_back(self, member: Member, holder: str, start: Start, *, at_once: bool = True) -> bool:
        """Give up the lease of a shard that isn't done, and take back the start that was counted for it.

        Args:
            member: the shard.
            holder: the worker.
            start: the start that was counted.
            at_once: whether the shard is the next that is chosen, and the caller sends its message; otherwise a sweep
                sends it, a lease from now.

        Returns:
            False if another worker has the shard, or if it isn't in the ledger: then no message is needed.
        """
        return bool(
            self._scripts.run(
                "give_back",
                member=str(member),
                holder=holder,
                start=start,
                at_once=int(at_once),
                lease_seconds=self.lease_seconds,
            )
        )

    def sweep(self) -> list[Member]:
        """Find the shards that have neither a holder nor a message. The caller sends their messages again.

        Either the lease has expired; or the shard was chosen and not claimed, or put off, a lease ago; or its message
        was sent more than a lease ago and the queue is empty. Members that name no shard are removed from the ledger.
        """
        found = self._scripts.run(
            "sweep",
            lease_seconds=self.lease_seconds,
            limit=SWEEP_LIMIT,
            few=SWEEP_FEW,
            silence_seconds=SILENCE_SECONDS,
            renewal_seconds=RENEWAL_SECONDS,
            pause_seconds=SWEEP_PAUSE_SECONDS,
        )
        again = []
        for raw in found:
            try:
                again.append(Member.parse(as_text(raw)))
            except PayloadError:
                self._throw_out(raw)
        return again

    def counts(self) -> Counts:
        """The number of waiting and running shards, over all jobs of this offer."""
        seconds, microseconds = self.client.time()
        pipe = self.client.pipeline(transaction=True)
        pipe.zcount(self.keys.ledger, MARKS, "+inf")
        pipe.zcount(self.keys.leases, f"({seconds + microseconds / 1e6}", "+inf")
        pipe.hget(self.keys.tokens, "total")
        shards, running, tokens = pipe.execute()
        return Counts(int(shards), int(running), int(tokens or 0))

    def oldest_seconds(self) -> float:
        """How long the shard that has waited longest has, since its message was last sent; 0 if none waits.

        By the server's clock. Shards under a valid lease are computed, and don't wait.
        """
        seconds, microseconds = self.client.time()
        now = seconds + microseconds / 1e6
        held = set(self.client.zrange(self.keys.leases, f"({now}", "+inf", byscore=True))
        oldest: Any = self.client.zrange(
            self.keys.ledger,
            MARKS,
            "+inf",
            byscore=True,
            offset=0,
            num=len(held) + 1,
            withscores=True,
        )
        return next((max(0.0, now - sent) for member, sent in oldest if member not in held), 0.0)

    def members(self, job_key: str) -> tuple[set[Life], set[Life]]:
        """The lives of a job that are in the ledger, and those of them that are under a lease."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zrange(self.keys.ledger, 0, -1)
        pipe.zrange(self.keys.leases, 0, -1)
        ledger, leases = pipe.execute()
        return _of_job(ledger, job_key), _of_job(leases, job_key)

    def running(self, job_key: str) -> tuple[set[Life], int]:
        """The lives of a job that are under a valid lease, and the number of valid leases of other jobs."""
        seconds, microseconds = self.client.time()
        leases: Any = self.client.zrange(self.keys.leases, f"({seconds + microseconds / 1e6}", "+inf", byscore=True)
        lives = _of_job(leases, job_key)
        return lives, len(leases) - len(lives)

    def known(self, job_keys: Sequence[str]) -> list[Known]:
        """The state of several jobs, with one question to the server."""
        if not job_keys:
            return []
        pipe = self.client.pipeline(transaction=True)
        pipe.hmget(self.keys.left, job_keys)
        for job_key in job_keys:
            pipe.hexists(self.keys.jobs, job_key)
            pipe.zscore(self.keys.ledger, job_key)
            pipe.exists(self._over(job_key))
        counts, *found = pipe.execute()
        # A job without a registered place counts as lost: no new worker would find it.
        marks = [mark if there else None for there, mark in zip(found[::3], found[1::3], strict=True)]
        return [
            Known(
                None if mark is None else int(mark),
                int(count) if count and as_text(count).isdecimal() else 0,
                bool(over),
            )
            for mark, count, over in zip(marks, counts, found[2::3], strict=True)
        ]

    def take_turn(self, what: str, seconds: float) -> bool:
        """Take the turn to do something, unless another process has it. A turn is a hint, never a lock.

        Args:
            what: names the thing to do.
            seconds: how long the turn lasts.
        """
        return bool(self.client.set(f"{self.keys.turns}:{what}", b"", nx=True, px=max(1, round(seconds * 1000))))

    def say_over(self, job_key: str, seconds: float) -> None:
        """Tell other workers that a job is over, so that not every one of them reads its log and lists its objects.

        Args:
            job_key: the job's key.
            seconds: how long they see it; long enough for all of them to ask.
        """
        self.client.set(self._over(job_key), b"", px=max(1, round(seconds * 1000)))

    def say_fed(self, job_key: str, seconds: float, trouble: str = "") -> None:
        """Show that a producer is at work on a job.

        Args:
            job_key: the job's key.
            seconds: how long it counts.
            trouble: what is in its way, for people; "" if nothing is.
        """
        now, _ = self.client.time()
        self.client.hset(self.keys.producers, job_key, f"{now + seconds} {trouble}")

    def say_unfed(self, job_key: str) -> None:
        """Show that a producer's work on a job is over."""
        self.client.hdel(self.keys.producers, job_key)

    def fed(self, job_key: str) -> str | None:
        """What is in the way of the producer that is at work on a job, "" if nothing is; None without a producer.

        What a dead one has shown is removed. The text is unchecked: anybody with access to Redis can write it.
        """
        raw = self.client.hget(self.keys.producers, job_key)
        if raw is None:
            return None
        now, _ = self.client.time()
        until, _, trouble = as_text(raw).partition(" ")
        try:
            if now <= float(until) <= now + LONGEST_HEARTBEAT_SECONDS:
                return trouble
        except ValueError:
            pass  # forged
        self.say_unfed(job_key)
        return None

    def place_of(self, job_key: str) -> str | None:
        """The path or URL that was registered for a job, unchecked: anybody with access to Redis can write it."""
        raw = self.client.hget(self.keys.jobs, job_key)
        if raw is None:
            return None
        try:
            place = json.loads(raw)["place"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return place if isinstance(place, str) else None

    def other_offers(self) -> set[Offer]:
        """The other offers that have waiting shards, which the workers of this offer don't compute."""
        listed = sorted(self.client.smembers(self.keys.offers))
        offers = [offer for raw in listed if (offer := Offer.parse(as_text(raw))) and offer != self.offer]
        pipe = self.client.pipeline(transaction=False)
        for offer in offers:
            pipe.zcount(Keys.of(self._namespace, offer).ledger, MARKS, "+inf")
        waiting = dict(zip(offers, pipe.execute(), strict=True))
        idle = [offer for offer, count in waiting.items() if not count]
        excess = min(len(idle), _UNLISTED, max(0, len(listed) - MOST_OFFERS))
        for offer in random.sample(idle, excess):  # some of them may have a job of which nothing waits
            Scripts(self.client, Keys.of(self._namespace, offer)).run("unlist", offer=str(offer))
        return {offer for offer, count in waiting.items() if count}

    def beat(self, holder: str, facts: dict[str, object]) -> None:
        """List a worker as alive for the next few leases.

        Args:
            holder: the worker.
            facts: facts about the worker, for JSON.
        """
        seconds, _ = self.client.time()
        until = seconds + HEARTBEAT_LEASES * self.lease_seconds
        self.client.hset(self.keys.workers, holder, json.dumps({**facts, "offer": str(self.offer), "until": until}))

    def leave(self, holder: str) -> None:
        """Remove a worker from the list of living workers."""
        self.client.hdel(self.keys.workers, holder)

    def workers(self) -> dict[str, dict[str, Any]]:
        """The living workers of all offers: name → facts. Other workers are removed from the list."""
        return alive_workers(self.client, self._namespace)

    def _over(self, job_key: str) -> str:
        return f"{self.keys.turns}:{job_key}:over"

    def _throw_out(self, raw: bytes | str) -> None:
        """Remove a member that doesn't name a shard: anybody with access to Redis may have written it."""
        pipe = self.client.pipeline(transaction=True)
        for sorted_set in (self.keys.ledger, self.keys.leases, self.keys.order, self.keys.later):
            pipe.zrem(sorted_set, raw)
        pipe.execute()


class _TakesOut(Protocol):
    def entered(self, job_key: str, /) -> list[Any]: ...

    def take_some_out(
        self, job_key: str, lowest: int | None, highest: int | None, members: Sequence[Any], becomes: int | None, /
    ) -> int | None: ...


def take_out(ledger: _TakesOut, job_key: str, length: int | None = None) -> int:
    """Take a job out of a ledger, some members at a time, because the server answers no other question meanwhile.

    In between, its mark is below zero: a process that wants the job then enters everything again, or takes it out.

    Args:
        ledger: whose.
        job_key: of the job.
        length: leave the job alone unless its mark is from 0 to this; None to take it out whatever its mark.

    Returns:
        How many members there were.
    """
    mark, count = -1 - secrets.randbits(50), 0
    if ledger.take_some_out(job_key, None if length is None else 0, length, [], mark) is None:
        return 0
    members = ledger.entered(job_key)  # a process that enters more moves the mark, which ends this
    for start in range(0, len(members) + 1, CANCEL_CHUNK):
        last = start + CANCEL_CHUNK > len(members)
        some = members[start : start + CANCEL_CHUNK]
        taken = ledger.take_some_out(job_key, mark, mark, some, None if last else mark)
        if taken is None:
            break
        count += taken
    return count


def alive_workers(client: redis.Redis, namespace: str) -> dict[str, dict[str, Any]]:
    """The living workers of all offers: name → facts. Other workers are removed from the list.

    The fact `silent_seconds` is added: the age of the worker's heartbeat.

    Raises:
        redis.RedisError: the server is away, refuses, or can't do it now.
    """
    key = f"{namespace}:workers"
    seconds, _ = client.time()
    alive: dict[str, dict[str, Any]] = {}
    for name, raw in client.hgetall(key).items():
        facts = _heartbeat(raw)
        if facts and seconds <= facts["until"] <= seconds + LONGEST_HEARTBEAT_SECONDS:
            lease_seconds = facts.get("lease_seconds")
            if isinstance(lease_seconds, int | float):
                facts["silent_seconds"] = max(0.0, seconds - (facts["until"] - HEARTBEAT_LEASES * lease_seconds))
            alive[as_text(name)] = facts
        else:
            client.hdel(key, name)
    return alive


def as_text(raw: bytes | str) -> str:
    """A value from Redis as text, whatever its bytes are: anybody with access to Redis can write one."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def _of_job(members: Iterable[bytes], job_key: str) -> set[Life]:
    prefix, lives = f"{job_key}/".encode(), set()
    for raw in members:
        if raw.startswith(prefix):
            with contextlib.suppress(PayloadError):  # a sweep removes it
                lives.add(Member.parse(as_text(raw)).life)
    return lives


def _heartbeat(raw: bytes | str) -> dict[str, Any] | None:
    """The facts in a heartbeat; None if it is malformed."""
    try:
        facts = json.loads(raw)
        return facts if isinstance(facts["until"], int | float) and isinstance(facts["offer"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
