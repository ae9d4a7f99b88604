"""The ledger: which shards of one model still wait for their file, and who holds them.

Everything is under `<namespace>:<model>:` in one Redis database, changed by Lua scripts that run whole or
not at all, on the server's clock. A *member* is one shard of one job (`unrolled.queue.member`). A shard is in the
ledger from before its message is sent until its part is durable. Shards in the ledger that no worker holds are sent
again (`sweep`).

| key | type | what |
|---|---|---|
| `ledger` | sorted set | member → when its message was last sent |
| `tokens` | hash | member → tokens; field `total` is their sum |
| `leases` | sorted set | member → when its lease runs out |
| `holders` | hash | member → the worker that holds the lease; empty where it gave the shard back |
| `started` | hash | member → the worker that made its first start, until its end: without one, it is suspect |
| `lonely` | hash | member → starts with no other shard on board, and the worker that made the last |
| `resent` | set | members whose message was sent more than once |
| `watermark` | string | the latest sending time of a shard that was taken up by its only message |
| `swept` | string | when a worker last swept; ahead of now while sweeping waits after a silence |
| `jobs` | hash | job key → JSON: the output directory |
| `entered` | hash | job key → the server's run in which all of its waiting shards were entered |

Beside them, shared by all models: `<namespace>:models`, the set of fingerprints with a ledger, and
`<namespace>:workers`, a hash of heartbeats: worker → JSON.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unrolled.errors import PayloadError
from unrolled.queue import ledger_scripts as scripts
from unrolled.queue.member import Member
from unrolled.queue.messages import SHORT, queue_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import redis

    from unrolled.job.shard_id import ShardId

#: `ZRANGEBYSCORE … LIMIT`: what one sweep looks at; the next one goes on.
SWEEP_LIMIT = 10_000
#: Workers sweep every few seconds. When none did for so long, the server was away, and the leases that ran
#: out meanwhile are not their holders' fault: sweeping waits for so long, until they have been renewed.
SILENCE_SECONDS, RENEWAL_SECONDS = 5.0, 3.0
#: Leases that a worker may be silent before it is struck off the list of workers.
HEARTBEAT_LEASES = 2


#: No heartbeat holds for longer, whatever it says.
LONGEST_HEARTBEAT_SECONDS = 86_400.0

#: The start that was counted for a shard when it was taken: its first, or one with nothing else on board; or none, of a
#: suspect that waits to run alone.
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
    """The ledger at one moment.

    Attributes:
        shards: shards without a file yet, the running ones included.
        running: shards under a lease.
        tokens: token ids in all of them.
    """

    shards: int
    running: int
    tokens: int


class Ledger:
    """The ledger of one model.

    Args:
        client: a Redis client that returns bytes.
        namespace: the prefix of every key, so that two installations can share a database.
        fingerprint: of the model.
        lease_seconds: how long a worker may be silent before its shards are sent again.
    """

    def __init__(self, client: redis.Redis, namespace: str, fingerprint: str, lease_seconds: float = 30.0) -> None:
        self.client = client
        self.fingerprint = fingerprint
        self.lease_seconds = lease_seconds
        prefix = f"{namespace}:{fingerprint[:SHORT]}:"
        names = ("ledger", "tokens", "leases", "holders", "started", "lonely", "watermark", "jobs")
        self._keys = [prefix + name for name in names]
        self._keys.append(f"{namespace}:{queue_name(fingerprint)}")
        self._keys += [prefix + name for name in ("resent", "swept", "entered")]
        self._namespace = namespace
        self._models = f"{namespace}:models"
        self._workers = f"{namespace}:workers"
        self._scripts: dict[str, Any] = {}

    def enter(self, member: Member, tokens: int, directory: str) -> bool:
        """Enter a shard, and its job, unless they are there; False where the shard was."""
        keys = (self._keys[0], self._keys[1], self._keys[7], self._models)
        job = json.dumps({"directory": directory})
        return bool(self._run(scripts.SUBMIT, keys, str(member), tokens, member.job_key, job, self.fingerprint))

    def claim(self, member: Member, holder: str) -> Lease:
        """Reach for a shard. A first start is counted with it, so that a death leaves its trace."""
        state, suspect = self._run(scripts.CLAIM, self._keys, str(member), holder, self.lease_seconds)
        return Lease(as_text(state), bool(suspect))  # type: ignore[arg-type]

    def start_alone(self, member: Member) -> int:
        """Count a start of a suspect with nothing else on board; how many workers there have been.

        A worker that starts it twice is counted once, so it's safe to call again; 0 where the shard is gone.
        """
        return int(self._run(scripts.START_ALONE, self._keys, str(member)))

    def renew(self, members: Collection[Member], holder: str) -> list[Member]:
        """Keep the leases of these shards; those that are lost to another worker, or gone."""
        lost = self._run(scripts.RENEW, self._keys, holder, self.lease_seconds, *map(str, members)) if members else []
        return [Member.parse(as_text(raw)) for raw in lost]

    def remove(self, member: Member) -> bool:
        """Take a shard out: its file is durable, or it is dead and recorded."""
        return bool(self._run(scripts.REMOVE, self._keys, str(member)))

    def cancel(self, job_key: str) -> int:
        """Take a job and all of its shards out; how many there were."""
        return int(self._run(scripts.CANCEL, self._keys, job_key))

    def give_back(self, member: Member, holder: str, start: Start) -> bool:
        """Let a shard go, unfinished and blameless: the start that was counted for it is taken back.

        False where it is gone or another worker's: then no message need be sent.
        """
        return bool(self._run(scripts.GIVE_BACK, self._keys, str(member), holder, start))

    def sweep(self) -> list[Member]:
        """Shards that nobody holds any more: their message must be sent again, by the caller.

        Either the lease ran out, or the message was sent more than a lease ago and is not in the queue: the
        queue is first in, first out, so a shard sent before one that was taken up has left it too. (One that
        was sent twice tells nothing: either message may have been the one.) What is no shard is taken out.
        """
        limits = (self.lease_seconds, SWEEP_LIMIT, SILENCE_SECONDS, RENEWAL_SECONDS)
        again = []
        for raw in self._run(scripts.SWEEP, self._keys, *limits):
            try:
                again.append(Member.parse(as_text(raw)))
            except PayloadError:
                self._throw_out(raw)
        return again

    def counts(self) -> Counts:
        """How much waits and runs, over all jobs of this model."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zcard(self._keys[0])
        pipe.zcard(self._keys[2])
        pipe.hget(self._keys[1], "total")
        shards, running, tokens = pipe.execute()
        return Counts(int(shards), int(running), int(tokens or 0))

    def members(self, job_key: str) -> tuple[set[ShardId], set[ShardId]]:
        """(in the ledger, under a lease): the shards of one job."""
        pipe = self.client.pipeline(transaction=True)
        pipe.zrange(self._keys[0], 0, -1)
        pipe.zrange(self._keys[2], 0, -1)
        ledger, leases = pipe.execute()
        return _of_job(ledger, job_key), _of_job(leases, job_key)

    def knows(self, job_key: str) -> bool:
        """Whether all that waits of this job was entered since the server started.

        False for a known job means that Redis may have lost some of it, be it the last second before a crash:
        `unrolled.queue.entering.enter_waiting` makes it whole.
        """
        run = self.client.hget(self._keys[11], job_key)
        return run is not None and as_text(run) == self.server_run()

    def server_run(self) -> str:
        """Which start of the server this is; another one may have lost what the last one knew."""
        return str(self.client.info("server")["run_id"])

    def mark_entered(self, job_key: str, run: str) -> None:
        """Say that all that waits of a registered job was entered in this run of the server."""
        self._run(scripts.MARK_ENTERED, (self._keys[7], self._keys[11]), job_key, run)

    def job_directory(self, job_key: str) -> str | None:
        """The output directory as registered; unchecked, whoever may write to Redis wrote it."""
        raw = self.client.hget(self._keys[7], job_key)
        if raw is None:
            return None
        try:
            directory = json.loads(raw)["directory"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return directory if isinstance(directory, str) else None

    def other_models(self) -> set[str]:
        """Fingerprints of other models that have shards waiting."""
        names = {as_text(name) for name in self.client.smembers(self._models)} - {self.fingerprint}
        return {name for name in names if self.client.zcard(f"{self._namespace}:{name[:SHORT]}:ledger")}

    def beat(self, holder: str, facts: dict[str, object]) -> None:
        """Give a sign of life: facts of a worker, kept for a few leases."""
        seconds, _ = self.client.time()
        until = seconds + HEARTBEAT_LEASES * self.lease_seconds
        self.client.hset(self._workers, holder, json.dumps({**facts, "model": self.fingerprint, "until": until}))

    def leave(self, holder: str) -> None:
        """Take a worker off the list of those alive."""
        self.client.hdel(self._workers, holder)

    def workers(self) -> dict[str, dict[str, Any]]:
        """Workers of all models that gave a sign of life lately: name → facts; others are struck off."""
        seconds, _ = self.client.time()
        alive: dict[str, dict[str, Any]] = {}
        for name, raw in self.client.hgetall(self._workers).items():
            facts = _heartbeat(raw)
            if facts and seconds <= facts["until"] <= seconds + LONGEST_HEARTBEAT_SECONDS:
                alive[as_text(name)] = facts
            else:
                self.client.hdel(self._workers, name)
        return alive

    def forget(self, job_key: str) -> None:
        """Drop the registration of a finished job."""
        self.client.hdel(self._keys[7], job_key)
        self.client.hdel(self._keys[11], job_key)

    def _throw_out(self, raw: bytes | str) -> None:
        """Remove what is no shard: whoever may write to Redis put it there."""
        pipe = self.client.pipeline(transaction=True)
        for sorted_set in (self._keys[0], self._keys[2]):
            pipe.zrem(sorted_set, raw)
        pipe.srem(self._keys[9], raw)
        pipe.execute()

    def _run(self, script: str, keys: Iterable[str], *args: object) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self.client.register_script(script)
        return self._scripts[script](keys=list(keys), args=list(args))


def _of_job(members: Iterable[bytes], job_key: str) -> set[ShardId]:
    prefix, shards = f"{job_key}/".encode(), set()
    for raw in members:
        if raw.startswith(prefix):
            with contextlib.suppress(PayloadError):  # anybody with access to Redis may have written it
                shards.add(Member.parse(as_text(raw)).shard)
    return shards


def as_text(raw: bytes | str) -> str:
    """What Redis holds, as text whatever it is, for whoever may write to Redis may have written it."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def _heartbeat(raw: bytes | str) -> dict[str, Any] | None:
    """A heartbeat's facts; None where it is none, for whoever may write to Redis may have written it."""
    try:
        facts = json.loads(raw)
        return facts if isinstance(facts["until"], int | float) and isinstance(facts["model"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
