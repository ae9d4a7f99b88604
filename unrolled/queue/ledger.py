"""The ledger: which shards of one offer still wait for their part, and which worker holds which.

The ledger is in Redis (`unrolled.queue.keys`). Lua scripts change it (`unrolled/queue/scripts`), which run whole or not
at all, on the server's clock. A shard is in the ledger from before its message is sent until its part is durable.
Shards in the ledger that no worker holds are sent again (`Ledger.sweep`).

The truth about a job is its log. The ledger says how much of the log it was told (`told`), and can be told all of it
again, so losing it costs time alone.
"""

# Longer than a screen: one method for each thing that can be done to a ledger, nearly all of it documentation.

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from unrolled.errors import PayloadError
from unrolled.job.offer import Offer
from unrolled.queue.keys import Keys
from unrolled.queue.member import Member
from unrolled.queue.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import redis

    from unrolled.job.names import Life

#: Scores below are marks of jobs, those from here on are times of shards.
MARKS = 1_000_000_000
#: Members that one sweep looks at; the next sweep looks at more.
SWEEP_LIMIT = 10_000
#: Shards that one script takes out: it holds the server for about a millisecond.
CANCEL_CHUNK = 100
#: Seconds between two sweeps, by whomever: a sweep looks at all running shards.
SWEEP_PAUSE_SECONDS = 1.0
#: Workers sweep every few seconds. After a silence of SILENCE_SECONDS the server was away, and sweeping waits for
#: RENEWAL_SECONDS: in that time the workers that are alive renew the leases that ran out meanwhile.
SILENCE_SECONDS, RENEWAL_SECONDS = 5.0, 3.0
#: A worker is taken off the list when its last heartbeat is this many leases old.
HEARTBEAT_LEASES = 2
#: No heartbeat is believed for longer, whatever it says.
LONGEST_HEARTBEAT_SECONDS = 86_400.0

#: The start that is counted for a shard on board: its first one, one with nothing else on board, or none yet, which is
#: so for a suspect that waits for the others to leave.
Start = Literal["first", "alone", "none"]


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker learns when it reaches for a shard.

    Attributes:
        state: "taken": this worker has the lease now. "mine": it had the lease before, because this is a second
            message, the answer to an earlier claim was lost, or a renewal came first. "held": another worker has it.
            "gone": the shard isn't in the ledger, so there is nothing to do.
        suspect: another worker started the shard and neither finished it nor gave it back, so the shard may have
            killed it. True only where this worker has the lease.
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
    """What a ledger knows of a job.

    Attributes:
        told: how many segments of its log it was told; below zero while somebody tells it everything; None where it has
            lost the job.
        left: how many lives of the job it has: a hint when it is worth looking for more, never proof of anything.
        over: whether somebody has just seen that nothing is left to do for the job (`Ledger.say_over`); a hint, too.
    """

    told: int | None
    left: int
    over: bool = False


class Ledger:
    """The ledger of one offer.

    Every method that asks the server raises `redis.RedisError` where the server is away, refuses, or can't do it now,
    such as with a full memory. All are safe to repeat.

    Args:
        client: a Redis client that returns bytes.
        namespace: prefix of every key, so that installations can share a database.
        offer: what its workers compute.
        lease_seconds: how long a worker may be silent before its shards are sent again.

    Attributes:
        client: as given.
        offer: as given.
        lease_seconds: as given.
        keys: its keys in Redis.
    """

    def __init__(self, client: redis.Redis, namespace: str, offer: Offer, lease_seconds: float = 30.0) -> None:
        self.client = client
        self.offer = offer
        self.lease_seconds = lease_seconds
        self.keys = Keys.of(namespace, offer)
        self._namespace = namespace
        self._scripts = Scripts(client, self.keys)

    def told(self, job_key: str) -> int | None:
        """How many segments of a job's log it was told; below zero while somebody tells it everything; None for none.

        Raises:
            redis.RedisError: see the class. Every method raises it.
        """
        return self.known([job_key])[0].told

    def enter(
        self, job_key: str, place: str, expected: int | None, members: Sequence[tuple[Member, int]], becomes: int
    ) -> list[Member] | None:
        """Enter lives of a job's shards, and move its mark, in one step.

        Args:
            job_key: of the job.
            place: path or URL of the job's store, which is registered with it.
            expected: the mark as the caller knows it.
            members: lives, each with its token ids; those that are there stay as they are.
            becomes: the mark from now on.

        Returns:
            The members that are new, whose messages the caller sends; None where the mark is another than expected.
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
        )
        return [Member.parse(as_text(raw)) for raw in new] if moved else None

    def claim(self, member: Member, holder: str) -> Lease:
        """Take the lease of a shard, unless another worker has it. A first start is recorded with it.

        Args:
            member: the shard.
            holder: the worker that asks.
        """
        state, suspect = self._scripts.run("claim", member=str(member), holder=holder, lease_seconds=self.lease_seconds)
        return Lease(as_text(state), bool(suspect))  # type: ignore[arg-type]  # claim.lua has no other states

    def start_alone(self, member: Member) -> int:
        """Record that the worker which holds a suspect starts it with nothing else on board.

        Returns:
            How many workers have started it alone, this one included; 0 where the shard isn't in the ledger. A worker
            counts once, however often it starts the shard.
        """
        return int(self._scripts.run("start_alone", member=str(member)))

    def renew(self, members: Collection[Member], holder: str) -> list[Member]:
        """Extend the leases of a worker.

        Args:
            members: the shards that it holds.
            holder: the worker.

        Returns:
            The shards that another worker has taken, that were given back, or that are gone.
        """
        if not members:
            return []
        lost = self._scripts.run("renew", *map(str, members), holder=holder, lease_seconds=self.lease_seconds)
        return [Member.parse(as_text(raw)) for raw in lost]

    def remove(self, member: Member) -> bool:
        """Take a shard out: its part is durable, or it is dead and recorded.

        Returns:
            False where it was out already.
        """
        return bool(self._scripts.run("remove", member=str(member), job_key=member.job_key))

    def cancel(self, job_key: str) -> int:
        """Take a job, its mark and all its shards out, even where the server's memory is full.

        Returns:
            How many shards there were.
        """
        return self._take_out(job_key, "", "")

    def forget(self, job_key: str, length: int) -> int:
        """Take a complete job out, unless its log has grown since.

        Args:
            job_key: of the job.
            length: how many segments its log had when it was complete. A ledger that knows of more is left alone.

        Returns:
            How many shards there were: those that a worker had published and not taken out.
        """
        return self._take_out(job_key, 0, length)

    def give_back(self, member: Member, holder: str, start: Start) -> bool:
        """Give up the lease of a shard that isn't done, and take back the start that was counted for it.

        Returns:
            False where another worker has the shard, or it is gone: then its message need not be sent again.
        """
        return bool(self._scripts.run("give_back", member=str(member), holder=holder, start=start))

    def sweep(self) -> list[Member]:
        """Find the shards that no worker holds and no message points to. The caller sends their messages again.

        Either their lease ran out, or their message was sent more than a lease ago and isn't in the queue any more.
        What is no shard is removed from the ledger.
        """
        found = self._scripts.run(
            "sweep",
            lease_seconds=self.lease_seconds,
            limit=SWEEP_LIMIT,
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
        """How much waits and runs, over all jobs of this offer."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zcount(self.keys.ledger, MARKS, "+inf")
        pipe.zcard(self.keys.leases)
        pipe.hget(self.keys.tokens, "total")
        shards, running, tokens = pipe.execute()
        return Counts(int(shards), int(running), int(tokens or 0))

    def members(self, job_key: str) -> tuple[set[Life], set[Life]]:
        """The lives of a job that are in the ledger, and those of them that are under a lease."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zrange(self.keys.ledger, 0, -1)
        pipe.zrange(self.keys.leases, 0, -1)
        ledger, leases = pipe.execute()
        return _of_job(ledger, job_key), _of_job(leases, job_key)

    def running(self, job_key: str) -> tuple[set[Life], int]:
        """The lives of a job that are under a lease, and how many of other jobs are."""
        leases: Any = self.client.zrange(self.keys.leases, 0, -1)
        lives = _of_job(leases, job_key)
        return lives, len(leases) - len(lives)

    def known(self, job_keys: Sequence[str]) -> list[Known]:
        """What it knows of each of some jobs, in one question."""
        if not job_keys:
            return []
        pipe = self.client.pipeline(transaction=True)
        pipe.hmget(self.keys.left, job_keys)
        for job_key in job_keys:
            pipe.hexists(self.keys.jobs, job_key)
            pipe.zscore(self.keys.ledger, job_key)
            pipe.exists(self._over(job_key))
        counts, *found = pipe.execute()
        # Without its place, no worker that is new to it finds a job: then all of it is told again.
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
        """Take the turn to do something, unless another process has it. It is a hint, never a lock.

        Args:
            what: names it.
            seconds: how long the turn lasts.
        """
        return bool(self.client.set(f"{self.keys.turns}:{what}", b"", nx=True, px=max(1, round(seconds * 1000))))

    def end_turn(self, what: str) -> None:
        """Let the next one do it at once."""
        self.client.delete(f"{self.keys.turns}:{what}")

    def say_over(self, job_key: str, seconds: float) -> None:
        """Tell other workers that a job is over, so that not every one of them reads its log and lists its objects.

        Args:
            job_key: of the job.
            seconds: how long it is said: until all of them have asked.
        """
        self.client.set(self._over(job_key), b"", px=max(1, round(seconds * 1000)))

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
        """Other offers that have shards waiting: nothing that this ledger's workers compute."""
        found = {offer for raw in self.client.smembers(self.keys.offers) if (offer := Offer.parse(as_text(raw)))}
        return {
            o for o in found - {self.offer} if self.client.zcount(Keys.of(self._namespace, o).ledger, MARKS, "+inf")
        }

    def beat(self, holder: str, facts: dict[str, object]) -> None:
        """List a worker as alive for the next few leases.

        Args:
            holder: the worker.
            facts: about it, for JSON.
        """
        seconds, _ = self.client.time()
        until = seconds + HEARTBEAT_LEASES * self.lease_seconds
        self.client.hset(self.keys.workers, holder, json.dumps({**facts, "offer": str(self.offer), "until": until}))

    def leave(self, holder: str) -> None:
        """Take a worker off the list of those alive."""
        self.client.hdel(self.keys.workers, holder)

    def workers(self) -> dict[str, dict[str, Any]]:
        """The workers of all offers that are alive: name → facts. Others are taken off the list."""
        return alive_workers(self.client, self._namespace)

    def _over(self, job_key: str) -> str:
        return f"{self.keys.turns}:{job_key}:over"

    def _take_out(self, job_key: str, lowest: object, highest: object) -> int:
        """Take a job out, a few shards at a time, because the server answers nobody meanwhile."""
        mark = -1 - secrets.randbits(50)
        if self._scripts.run("cancel", job_key=job_key, lowest=lowest, highest=highest, becomes=mark) < 0:
            return 0
        count, prefix = 0, f"{job_key}/".encode()
        # Whoever enters more of the job moves its mark, which ends this.
        found: Any = self.client.zrange(self.keys.ledger, 0, -1)
        members = [raw for raw in found if raw.startswith(prefix)]
        for start in range(0, len(members) + 1, CANCEL_CHUNK):
            last = start + CANCEL_CHUNK > len(members)
            some = members[start : start + CANCEL_CHUNK]
            becomes = "" if last else mark
            taken = int(self._scripts.run("cancel", *some, job_key=job_key, lowest=mark, highest=mark, becomes=becomes))
            if taken < 0:
                break
            count += taken
        return count

    def _throw_out(self, raw: bytes | str) -> None:
        """Remove what is no shard: anybody with access to Redis may have written it."""
        pipe = self.client.pipeline(transaction=True)
        for sorted_set in (self.keys.ledger, self.keys.leases):
            pipe.zrem(sorted_set, raw)
        pipe.srem(self.keys.resent, raw)
        pipe.execute()


def alive_workers(client: redis.Redis, namespace: str) -> dict[str, dict[str, Any]]:
    """The workers of all offers that are alive: name → facts. Others are taken off the list.

    To what a worker says, the fact `silent_seconds` is added: how long ago it said that.

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
    """A value of Redis as text, whatever it is: anybody with access to Redis can write one."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def _of_job(members: Iterable[bytes], job_key: str) -> set[Life]:
    prefix, lives = f"{job_key}/".encode(), set()
    for raw in members:
        if raw.startswith(prefix):
            with contextlib.suppress(PayloadError):  # what is no shard is removed by a sweep
                lives.add(Member.parse(as_text(raw)).life)
    return lives


def _heartbeat(raw: bytes | str) -> dict[str, Any] | None:
    """The facts of a heartbeat; None where it is none."""
    try:
        facts = json.loads(raw)
        return facts if isinstance(facts["until"], int | float) and isinstance(facts["offer"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
