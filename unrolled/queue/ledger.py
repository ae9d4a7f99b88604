"""The ledger: which shards of one model still wait for their part, and which worker holds which.

The ledger is in Redis (`unrolled.queue.keys`). Lua scripts change it (`unrolled/queue/scripts`), which run whole or not
at all, on the server's clock. A shard is in the ledger from before its message is sent until its part is durable. One
that is in the ledger and that no worker holds is sent again (`Ledger.sweep`).
"""

# Over 150 lines: a method for each thing that is done to a ledger, and most of its lines are documentation.

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unrolled.errors import PayloadError
from unrolled.queue.keys import Keys
from unrolled.queue.member import Member
from unrolled.queue.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import redis

    from unrolled.job.shard_id import ShardId

#: Members that one sweep looks at; the next sweep looks at more.
SWEEP_LIMIT = 10_000
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


class Ledger:
    """The ledger of one model.

    Every method that asks the server raises `redis.RedisError` where the server is away, refuses, or can't do it now,
    such as with a full memory. All are safe to repeat.

    Args:
        client: a Redis client that returns bytes.
        namespace: prefix of every key, so that installations can share a database.
        fingerprint: of the model.
        lease_seconds: how long a worker may be silent before its shards are sent again.

    Attributes:
        client: as given.
        fingerprint: as given.
        lease_seconds: as given.
        keys: its keys in Redis.
    """

    def __init__(self, client: redis.Redis, namespace: str, fingerprint: str, lease_seconds: float = 30.0) -> None:
        self.client = client
        self.fingerprint = fingerprint
        self.lease_seconds = lease_seconds
        self.keys = Keys.of(namespace, fingerprint)
        self._namespace = namespace
        self._scripts = Scripts(client, self.keys)

    def enter(self, member: Member, tokens: int, directory: str) -> bool:
        """Enter a shard, and register its job, unless they are there.

        Args:
            member: the shard.
            tokens: token ids in it.
            directory: the job's output directory.

        Returns:
            False where the shard was in the ledger already; it stays as it was.

        Raises:
            redis.RedisError: see the class. Every method raises it.
        """
        job = json.dumps({"directory": directory})
        entered = self._scripts.run(
            "enter", member=str(member), size=tokens, job_key=member.job_key, job=job, fingerprint=self.fingerprint
        )
        return bool(entered)

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
        return bool(self._scripts.run("remove", member=str(member)))

    def cancel(self, job_key: str) -> int:
        """Take a job and all its shards out, even where the server's memory is full.

        Returns:
            How many shards there were.
        """
        return int(self._scripts.run("cancel", job_key=job_key))

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
        )
        again = []
        for raw in found:
            try:
                again.append(Member.parse(as_text(raw)))
            except PayloadError:
                self._throw_out(raw)
        return again

    def counts(self) -> Counts:
        """How much waits and runs, over all jobs of this model."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zcard(self.keys.ledger)
        pipe.zcard(self.keys.leases)
        pipe.hget(self.keys.tokens, "total")
        shards, running, tokens = pipe.execute()
        return Counts(int(shards), int(running), int(tokens or 0))

    def members(self, job_key: str) -> tuple[set[ShardId], set[ShardId]]:
        """The shards of a job that are in the ledger, and those of them that are under a lease."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zrange(self.keys.ledger, 0, -1)
        pipe.zrange(self.keys.leases, 0, -1)
        ledger, leases = pipe.execute()
        return _of_job(ledger, job_key), _of_job(leases, job_key)

    def knows(self, job_key: str) -> bool:
        """Whether all that waits of a job was entered since the server started.

        False for a job that was entered means that Redis may have lost some of it, if only the last second before a
        crash: `unrolled.queue.entering.enter_waiting` enters that again.
        """
        run = self.client.hget(self.keys.entered, job_key)
        return run is not None and as_text(run) == self.server_run()

    def server_run(self) -> str:
        """The name of this run of the server. A later run may have lost what this one knows."""
        return str(self.client.info("server")["run_id"])

    def mark_entered(self, job_key: str, run: str) -> None:
        """Note that all that waits of a job was entered, unless the job isn't registered.

        Args:
            job_key: of the job.
            run: `server_run` from before the entering began.
        """
        self._scripts.run("mark_entered", job_key=job_key, run=run)

    def job_directory(self, job_key: str) -> str | None:
        """The output directory that was registered for a job, unchecked: anybody with access to Redis can write it."""
        raw = self.client.hget(self.keys.jobs, job_key)
        if raw is None:
            return None
        try:
            directory = json.loads(raw)["directory"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return directory if isinstance(directory, str) else None

    def forget(self, job_key: str) -> None:
        """Remove the registration of a finished job."""
        self.client.hdel(self.keys.jobs, job_key)
        self.client.hdel(self.keys.entered, job_key)

    def other_models(self) -> set[str]:
        """The fingerprints of other models that have shards waiting."""
        models = {as_text(name) for name in self.client.smembers(self.keys.models)} - {self.fingerprint}
        return {model for model in models if self.client.zcard(Keys.of(self._namespace, model).ledger)}

    def beat(self, holder: str, facts: dict[str, object]) -> None:
        """List a worker as alive for the next few leases.

        Args:
            holder: the worker.
            facts: about it, for JSON.
        """
        seconds, _ = self.client.time()
        until = seconds + HEARTBEAT_LEASES * self.lease_seconds
        self.client.hset(self.keys.workers, holder, json.dumps({**facts, "model": self.fingerprint, "until": until}))

    def leave(self, holder: str) -> None:
        """Take a worker off the list of those alive."""
        self.client.hdel(self.keys.workers, holder)

    def workers(self) -> dict[str, dict[str, Any]]:
        """The workers of all models that are alive: name → facts. Others are taken off the list."""
        seconds, _ = self.client.time()
        alive: dict[str, dict[str, Any]] = {}
        for name, raw in self.client.hgetall(self.keys.workers).items():
            facts = _heartbeat(raw)
            if facts and seconds <= facts["until"] <= seconds + LONGEST_HEARTBEAT_SECONDS:
                alive[as_text(name)] = facts
            else:
                self.client.hdel(self.keys.workers, name)
        return alive

    def _throw_out(self, raw: bytes | str) -> None:
        """Remove what is no shard: anybody with access to Redis may have written it."""
        pipe = self.client.pipeline(transaction=True)
        for sorted_set in (self.keys.ledger, self.keys.leases):
            pipe.zrem(sorted_set, raw)
        pipe.srem(self.keys.resent, raw)
        pipe.execute()


def as_text(raw: bytes | str) -> str:
    """A value of Redis as text, whatever it is: anybody with access to Redis can write one."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def _of_job(members: Iterable[bytes], job_key: str) -> set[ShardId]:
    prefix, shards = f"{job_key}/".encode(), set()
    for raw in members:
        if raw.startswith(prefix):
            with contextlib.suppress(PayloadError):  # what is no shard is removed by a sweep
                shards.add(Member.parse(as_text(raw)).shard)
    return shards


def _heartbeat(raw: bytes | str) -> dict[str, Any] | None:
    """The facts of a heartbeat; None where it is none."""
    try:
        facts = json.loads(raw)
        return facts if isinstance(facts["until"], int | float) and isinstance(facts["model"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
