"""A model of the ledger, in dictionaries: one for each key that the scripts in unrolled/queue/scripts use.

A call is atomic, as a script in Redis is. After a crash the server has a state of the past, or nothing; whole keys may
be lost one by one. Not modelled: sizes in tokens, turns, heartbeats, and a server whose clock is set back.
"""

# Over 150 lines: one method for each script of the ledger.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from unrolled.queue.ledger import Known, Lease, take_out
from unrolled.queue.priority import NORMAL_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from unrolled.job.names import Life
    from unrolled.queue.ledger import Start
    from unrolled.queue.member import Member

#: Ticks of the ledger's clock for which a lease is valid.
LEASE = 14
#: The keys that can be lost; marks are in the sorted set of `ledger`.
KEYS = "ledger", "jobs", "leases", "holders", "started", "lonely", "order", "ranks", "priorities", "later", "queue"


class LedgerModel:
    """The ledger of one offer; its methods are those of `unrolled.queue.ledger.Ledger`.

    Attributes:
        ledger: life → the tick at which its message was sent last.
        marks: job → how many segments of its log the ledger knows.
        jobs: job → where its store is.
        leases: life → the tick at which its lease expires.
        holders: life → who has or had the lease, "" where it was given back.
        started: life → the first worker that started it.
        lonely: life → how many workers have started it alone, and the last of them.
        order: life that waits → its rank; the lowest is chosen next.
        ranks: job → the rank of its next life; "now" → that of the life that was chosen last.
        priorities: job → its share of the workers.
        later: life that was chosen and not claimed, or put off → the tick at which its message is sent again.
        queue: messages, first in, first out.
        now: the ledger's clock, in ticks.
    """

    def __init__(self) -> None:
        self.ledger: dict[Member, int] = {}
        self.marks: dict[str, int] = {}
        self.jobs: dict[str, str] = {}
        self.leases: dict[Member, int] = {}
        self.holders: dict[Member, str] = {}
        self.started: dict[Member, str] = {}
        self.lonely: dict[Member, tuple[int, str]] = {}
        self.order: dict[Member, int] = {}
        self.ranks: dict[str, int] = {}
        self.priorities: dict[str, int] = {}
        self.later: dict[Member, int] = {}
        self.queue: list[Member] = []
        self.now = 0

    def mark(self, job_key: str) -> int | None:
        """See `Ledger.mark`."""
        return self.marks.get(job_key) if job_key in self.jobs else None

    def known(self, job_keys: Sequence[str]) -> list[Known]:
        """See `Ledger.known`; the numbers of lives are exact."""
        return [Known(self.mark(key), sum(member.job_key == key for member in self.ledger)) for key in job_keys]

    def members(self, job_key: str) -> tuple[set[Life], set[Life]]:
        """See `Ledger.members`."""
        ledger, leases = ({m.life for m in key if m.job_key == job_key} for key in (self.ledger, self.leases))
        return ledger, leases

    def enter(
        self,
        job_key: str,
        place: str,
        expected: int | None,
        members: Iterable[tuple[Member, int]],
        becomes: int,
        priority: int | None = None,
    ) -> list[Member] | None:
        """See `Ledger.enter`."""
        if self.mark(job_key) != expected:
            return None
        if job_key not in self.marks:
            self.ranks.pop(job_key, None)
        if priority is not None:
            self.priorities[job_key] = priority
        rank = max(self.ranks.get("now", min(self.order.values(), default=0)), self.ranks.get(job_key, 0))
        new = []
        for member, tokens in members:
            if member not in self.ledger:
                self.ledger[member], self.order[member] = self.now, rank
                self.later.pop(member, None)
                rank += math.ceil(100 * max(1, tokens) / self.priorities.get(job_key, NORMAL_PRIORITY))
                new.append(member)
        self.ranks[job_key] = rank
        self.marks[job_key], self.jobs[job_key] = becomes, place
        return new

    def place_of(self, job_key: str) -> str | None:
        """See `Ledger.place_of`."""
        return self.jobs.get(job_key)

    def entered(self, job_key: str) -> list[Member]:
        """See `Ledger.entered`."""
        return [member for member in self.ledger if member.job_key == job_key]

    def take_some_out(
        self, job_key: str, lowest: int | None, highest: int | None, members: Sequence[Member], becomes: int | None
    ) -> int | None:
        """See `Ledger.take_some_out`."""
        mark = self.marks.get(job_key)
        if lowest is not None and highest is not None and (mark is None or not lowest <= mark <= highest):
            return None
        there = [member for member in members if member in self.ledger]
        for member in there:
            self.remove(member)
        if becomes is None:
            for key in (self.marks, self.jobs, self.ranks, self.priorities):
                key.pop(job_key, None)
        else:
            self.marks[job_key] = becomes
        return len(there)

    def cancel(self, job_key: str) -> int:
        """See `Ledger.cancel`."""
        return take_out(self, job_key)

    def forget(self, job_key: str, length: int) -> int:
        """See `Ledger.forget`."""
        return take_out(self, job_key, length)

    def send(self, member: Member) -> None:
        """Put a message at the end of the queue."""
        self.queue.append(member)

    def receive(self) -> Member | None:
        """Take the next message from the queue, if there is one."""
        return self.queue.pop(0) if self.queue else None

    def choose(self, hint: Member, without: Collection[str] = ()) -> Member | None:
        """See `Ledger.choose`."""
        chosen, left_out = hint, False
        if not self._waits(hint) or hint in self.order or hint in self.later:
            for member in sorted(self.order, key=lambda member: (self.order[member], str(member))):
                if member.job_key in without and (left_out or self._waits(member)):
                    left_out = True
                    continue
                rank = self.order.pop(member)
                if self._waits(member):
                    chosen = member
                    if rank > self.ranks.get("now", 0) and not left_out:
                        self.ranks["now"] = rank
                    break
            else:
                if left_out:
                    return None
        elif hint.job_key in without:
            return None
        if self._waits(chosen):
            self.later[chosen] = self.now + LEASE
        return chosen

    def _waits(self, member: Member) -> bool:
        return member in self.ledger and self.leases.get(member, 0) <= self.now

    def claim(self, member: Member, holder: str) -> Lease:
        """See `Ledger.claim`."""
        if member not in self.ledger:
            return Lease("gone")
        is_leased = self.leases.get(member, 0) > self.now
        if is_leased and self.holders.get(member) != holder:
            return Lease("held")
        self.leases[member], self.holders[member] = self.now + LEASE, holder
        self.order.pop(member, None)
        self.later.pop(member, None)
        is_suspect = self.started.setdefault(member, holder) != holder or self.lonely.get(member, (0, ""))[0] > 0
        return Lease("mine" if is_leased else "taken", is_suspect)

    def start_alone(self, member: Member) -> int:
        """See `Ledger.start_alone`."""
        if member not in self.ledger:
            return 0
        holder, (count, last) = self.holders.get(member, ""), self.lonely.get(member, (0, ""))
        if holder == "" or holder != last:
            count += 1
            self.lonely[member] = count, holder
        return count

    def renew(self, members: Iterable[Member], holder: str) -> list[Member]:
        """See `Ledger.renew`."""
        lost = []
        for member in members:
            if member in self.ledger and self.holders.get(member, holder) == holder:
                self.leases[member], self.holders[member] = self.now + LEASE, holder
            else:
                lost.append(member)
        return lost

    def remove(self, member: Member) -> bool:
        """See `Ledger.remove`."""
        if member not in self.ledger:
            return False
        for key in (self.ledger, self.leases, self.holders, self.started, self.lonely, self.order, self.later):
            key.pop(member, None)
        return True

    def give_back(self, member: Member, holder: str, start: Start, *, at_once: bool = True) -> bool:
        """See `Ledger.give_back`."""
        if member not in self.ledger or self.holders.get(member, holder) != holder:
            return False
        self.leases.pop(member, None)
        self.holders[member] = ""
        if start == "alone":
            self.lonely[member] = max(0, self.lonely.get(member, (0, ""))[0] - 1), ""
        elif start == "first":
            self.started.pop(member, None)
        self.ledger[member] = self.now
        for key in (self.order, self.later):
            key.pop(member, None)
        if at_once:
            self.order[member] = 0
        else:
            self.later[member] = self.now + LEASE
        return True

    def sweep(self) -> list[Member]:
        """See `Ledger.sweep`."""
        again = []
        for key in (self.leases, self.later):
            for member in [member for member, expiry in key.items() if expiry <= self.now]:
                del key[member]
                if key is self.leases:
                    self.holders.pop(member, None)
                if member in self.ledger and member not in self.leases and member not in again:
                    again.append(member)
                    self.ledger[member] = self.now
        for member, sent in self.ledger.items():
            is_reached = bool(self.queue) and member in self.order
            if sent <= self.now - LEASE and not is_reached and member not in self.leases and member not in self.later:
                again.append(member)
                self.ledger[member] = self.now
        for member in again:
            self.order.setdefault(member, 0)
        return again

    def lose(self, key: str) -> None:
        """Lose a key, as an eviction does, or all of them."""
        if key in ("all", "ledger"):
            self.marks = {}
        for name in KEYS:
            if key in ("all", name):
                setattr(self, name, type(getattr(self, name))())

    def snapshot(self) -> dict[str, Any]:
        """The state that a server would find on its disk after a crash."""
        return {name: getattr(self, name).copy() for name in (*KEYS, "marks")}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a state of the past; the clock goes on."""
        for name, value in snapshot.items():
            setattr(self, name, value.copy())
