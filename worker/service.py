"""What a worker does with one shard, from its message to its file; knows nothing of Celery.

    claim → read the rows → pool → publish → remove from the ledger

Every step is safe to repeat, and a worker that dies between two of them leaves nothing but a lease that runs out.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Literal

from unrolled.errors import BrokenWorkerError, PayloadError, RequestError, TransientError
from unrolled.messages import parse_member
from unrolled.publishing import publish_bytes
from unrolled.schema import ShardId
from worker.admission import Admission
from worker.errors import GivenBackError
from worker.inbox import read_rows
from worker.jobs import Jobs
from worker.outbox import publish_part, publish_quarantine

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job import JobDirectory
    from unrolled.ledger import Claim, Ledger
    from worker.buffers import Buffers
    from worker.engines import Engine
    from worker.inbox import ShardRows
    from worker.metrics import Metrics
    from worker.patience import Patience
    from worker.pool import Pool
    from worker.settings import Settings

log = logging.getLogger(__name__)
Start = Literal["first", "alone", "none"]


class ShardService:
    """Computes and publishes shards; `handle` runs in many threads at once.

    Args:
        settings: of this worker.
        ledger: of its model.
        engine: for what the files say of it.
        vocab_size: the largest token id of the model.
        pool: the process's one pool.
        buffers: where the pool takes its output arrays from.
        metrics: told of every shard.
        patience: how long to try again.
        send: sends one shard's message.
        on_broken: called once when this process can't go on.
    """

    def __init__(  # the parts are made in `worker.assembly`, which knows how they fit
        self,
        settings: Settings,
        ledger: Ledger,
        engine: Engine,
        vocab_size: int,
        pool: Pool,
        buffers: Buffers,
        metrics: Metrics,
        patience: Patience,
        send: Callable[[str, str], None],
        on_broken: Callable[[BrokenWorkerError], None],
    ) -> None:
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.jobs = Jobs(ledger, settings.output_root)
        self._on_board: dict[str, float] = {}
        self._changed = threading.Condition()
        self._settings = settings
        self._ledger = ledger
        self._engine = engine
        self._vocab_size = vocab_size
        self._pool = pool
        self._buffers = buffers
        self._metrics = metrics
        self._patience = patience
        self._send = send
        self._on_broken = on_broken
        self._admission = Admission(settings.memory_budget)

    def handle(self, job_key: object, shard: object) -> str:
        """Do whatever one message asks for; what came of it, in a word for the log.

        Never raises: the message may be acknowledged after it, for what isn't done is in the ledger.
        """
        try:
            member = parse_member(job_key, shard)
        except RequestError as error:
            log.error("message dropped: %s", error)
            return "dropped"
        try:
            claim = self._patience.until_done("reach the broker", lambda: self._ledger.claim(member, self.holder))
        except GivenBackError:
            return "left"
        if claim.state != "taken":
            return claim.state
        with self._changed:
            self._on_board[member] = time.monotonic()
        try:
            return self._attempt(member, claim)
        finally:
            with self._changed:
                self._on_board.pop(member, None)
                self._changed.notify_all()

    def on_board(self) -> dict[str, float]:
        """Shards that are held now: member → when it was taken, on the monotonic clock."""
        with self._changed:
            return dict(self._on_board)

    def wait_until_empty(self) -> None:
        """Wait until nothing is on board; `stop` makes that soon."""
        with self._changed:
            self._changed.wait_for(lambda: not self._on_board)

    def stop(self) -> None:
        """Give everything back, now."""
        self._patience.stop()
        self._admission.close()
        self._pool.close()

    def _attempt(self, member: str, claim: Claim) -> str:
        start: Start = "none" if claim.died else "first"
        job_key, _, shard = member.partition("/")
        directory: JobDirectory | None = None
        try:
            directory = self._patience.until_done("open a job's directory", lambda: self.jobs.find(job_key))
            size = claim.tokens * self._engine.units * 4
            with self._admission.admit(size, alone=claim.died > 0):
                if claim.died:
                    log.warning("%s was on board when a worker died; running it alone", member)
                    starts = self._patience.until_done("reach the broker", lambda: self._ledger.start_alone(member))
                    start = "alone"
                    if starts > self._settings.max_attempts:
                        raise RequestError(f"its worker died {self._settings.max_attempts} times with it alone on board")
                self._compute_and_publish(directory, shard)
            self._patience.until_done("reach the broker", lambda: self._ledger.remove(member))
        except GivenBackError:
            return self._give_back(member, start)
        except BrokenWorkerError as error:
            self._on_broken(error)
            return self._give_back(member, start)
        except RequestError as error:
            return self._bury(directory, member, start, str(error))
        except Exception as error:
            log.exception("%s: unexpected failure", member)
            return self._bury(directory, member, start, f"{type(error).__name__}: {error}")
        return "published"

    def _compute_and_publish(self, directory: JobDirectory, shard: str) -> None:
        if not directory.part(shard).exists():
            rows = self._read(directory, shard)
            if rows is not None:
                self._compute(directory, shard, rows)
        self._patience.until_done(f"publish to {directory.path}", lambda: directory.discard_pending(shard))

    def _read(self, directory: JobDirectory, shard: str) -> ShardRows | None:
        """The shard's rows; None where another worker has published them meanwhile."""
        began = time.perf_counter()
        path, content_hash = directory.pending(shard), ShardId.parse(shard).hash
        try:
            rows = self._patience.until_done(
                f"read from {directory.path}", lambda: read_rows(path, content_hash, self._vocab_size)
            )
        except PayloadError:
            if directory.part(shard).exists():
                return None
            raise
        self._metrics.read(time.perf_counter() - began)
        return rows

    def _compute(self, directory: JobDirectory, shard: str, rows: ShardRows) -> None:
        where = f"publish to {directory.path}"
        computed = self._pool.compute(rows.real)
        try:
            began = time.perf_counter()
            good = rows.without(computed.failed)
            if good.failed:
                self._patience.until_done(where, lambda: publish_quarantine(directory, shard, good.failed))
            self._patience.until_done(where, lambda: publish_part(directory, shard, good, computed.outputs, self._engine))
            self._metrics.published(time.perf_counter() - began)
        finally:
            self._buffers.give(computed.outputs)

    def _give_back(self, member: str, start: Start) -> str:
        """Let another worker have it at once; should the broker be away, the lease runs out instead."""
        try:
            if self._ledger.give_back(member, self.holder, start):
                self._send(*member.split("/"))
        except Exception as error:  # noqa: BLE001 - the ledger keeps the shard, whatever happens here
            log.warning("%s: couldn't be given back (%s); its lease runs out by itself", member, error)
        return "given back"

    def _bury(self, directory: JobDirectory | None, member: str, start: Start, reason: str) -> str:
        """Record a shard that is given up; its rows stay spooled for `unrolled retry`."""
        log.error("%s is given up: %s", member, reason)
        try:
            if directory is not None:
                path = directory.dead(member.partition("/")[2])
                text = json.dumps({"shard": path.stem, "reason": reason}) + "\n"
                self._patience.until_done(
                    f"publish to {directory.path}", lambda: publish_bytes(path, text.encode())
                )
            self._patience.until_done("reach the broker", lambda: self._ledger.remove(member))
        except (GivenBackError, TransientError, OSError):
            return self._give_back(member, start)
        return "given up"
