"""What a worker does: the product's code for one shard, and beside it the order of the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.access import JobLedger, patience
from simulation.content import decode_rows, encode_part, failed_numbers

from unrolled.protocol.finishing import finish
from unrolled.protocol.log import Log
from unrolled.protocol.opening import open_job
from unrolled.protocol.telling import tell
from worker.shards.publication import bury, look, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.actor import Actor

    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.member import Member

#: Workers that may have taken up a shard before it is buried.
MOST_STARTS = 3


class Worker:
    """One thread of a worker, which takes messages until it is over.

    Args:
        actor: the thread.
        is_over: whether there is nothing more to do; it ends then.
    """

    def __init__(self, actor: Actor, is_over: Callable[[], bool]) -> None:
        self._actor, self._is_over = actor, is_over
        self._met: dict[str, tuple[OpenJob, Log]] = {}

    def run(self) -> None:
        """Take messages; without one, look after the ledger."""
        while True:
            member: Member | None = self._actor.ask("take")
            if member is not None:
                self._attempt(member)
                self._actor.holding = None
            elif self._is_over():
                return
            else:
                self._actor.rest()
                if self._actor.rng.random() < 0.5:
                    self._look_after()

    def _look_after(self) -> None:
        """Send again what nobody holds, or bring an empty ledger up to the log of a job that was met."""
        if not self._met or self._actor.rng.random() < 0.5:
            self._actor.ask("sweep")
            return
        key = self._actor.rng.choice([*self._met])
        if self._actor.ask("told", key) is None:
            self._tell(key)

    def _tell(self, key: str) -> None:
        opened, log = self._met[key]
        tell(log, opened.objects, JobLedger(self._actor, opened))

    def _attempt(self, member: Member) -> None:
        """Claim a member, make sure that its shard has its part, and take it out of the ledger."""
        actor = self._actor
        claim = actor.ask("claim", member, actor.process)
        if claim.state != "taken":
            return
        actor.holding = member
        opened = self._find(member.job_key)
        if opened is None:
            self._give_back(member)
            return
        objects, shard = opened.objects, member.shard
        if claim.starts > MOST_STARTS:
            self._bury(opened, member)
            return
        found = look(objects, shard, failed_numbers)
        if found.failed is not None:
            finish(objects, shard, found.failed)
        elif found.rows is None:  # no death for what can't be seen; the job may have been discarded
            self._give_back(member)
            self._tell(member.job_key)
            return
        elif not self._compute(opened, member, found.rows):
            return
        actor.ask("remove", member)

    def _compute(self, opened: OpenJob, member: Member, content: bytes) -> bool:
        """Publish a part; False where this attempt comes to nothing."""
        rng, failing = self._actor.rng, self._actor.nature.failing
        for _ in range(rng.randint(0, 9)):
            self._actor.pass_time()
        fate = rng.random() if failing else 1
        if fate < 0.05:  # the request is bad as a whole
            self._bury(opened, member)
            return False
        if fate < 0.1:
            self._give_back(member)
            return False
        rows = decode_rows(content).rows
        failed = [number for number in range(len(rows)) if rng.random() < failing]
        publish(opened.objects, member.shard, encode_part(rows, failed), failed, content, failed_numbers)
        return True

    def _find(self, key: str) -> OpenJob | None:
        """A job by its key; None where the ledger has lost its place."""
        if key not in self._met:
            place = self._actor.ask("place_of", key)
            opened = None if place is None else open_job(place, patience(self._actor))
            if opened is None or opened.key != key:
                return None
            self._met[key] = opened, Log()
        return self._met[key][0]

    def _bury(self, opened: OpenJob, member: Member) -> None:
        bury(opened.objects, member.life, "too many workers died of it, or its request is bad as a whole")
        self._actor.ask("remove", member)

    def _give_back(self, member: Member) -> None:
        self._actor.ask("give_back", member, self._actor.process)
