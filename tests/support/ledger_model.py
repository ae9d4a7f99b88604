"""A model of the ledger, in dictionaries: all jobs of one model, as far as the protocol of a job relies on it.

A call is atomic, as a script in Redis is. Whatever comes back after a loss is a state of the past, or nothing; whole
keys may be lost one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from unrolled.queue.member import Member

if TYPE_CHECKING:
    from unrolled.job.names import Life

#: Ticks of the ledger's clock for which a lease is good.
LEASE = 14


class Taken(NamedTuple):
    """The answer to a claim.

    Attributes:
        state: "taken" (the caller holds the member now), "held" (by another), "gone" (nothing is left to do).
        starts: how many workers have taken it up, the caller included.
    """

    state: Literal["taken", "held", "gone"]
    starts: int = 0


class LedgerModel:
    """Which lives wait, who holds them, and how many segments of each job's log were told.

    Attributes:
        members: lives that wait or are computed. Redis keeps them and the marks in one sorted set.
        marks: job → how many segments of its log the ledger was told.
        places: job → where its store is.
        leases: member → its holder ("" where it was given back), and the tick at which the lease ends.
        starts: member → those who have taken it up.
        queue: messages, first in, first out.
        now: the ledger's clock, in ticks.
    """

    def __init__(self) -> None:
        self.members: dict[Member, None] = {}
        self.marks: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self.leases: dict[Member, tuple[str, int]] = {}
        self.starts: dict[Member, frozenset[str]] = {}
        self.queue: list[Member] = []
        self.now = 0

    def told(self, job: str) -> int | None:
        """How many segments of a job's log the ledger was told; negative during a telling of everything."""
        return self.marks.get(job) if job in self.places else None

    def enter(self, job: str, place: str, expected: int | None, lives: list[tuple[Life, int]], becomes: int) -> bool:
        """Enter lives and move the mark, in one step; False where the mark isn't `expected`."""
        if self.told(job) != expected:
            return False
        for life, _ in lives:
            member = Member(job, life)
            if member not in self.members:
                self.members[member] = None
                self.queue.append(member)
        self.marks[job], self.places[job] = becomes, place
        return True

    def place_of(self, job: str) -> str | None:
        """Where a job's store is; None where that was lost."""
        return self.places.get(job)

    def cancel(self, job: str) -> None:
        """Take a job out, its mark included."""
        for member in [member for member in self.members if member.job_key == job]:
            self.remove(member)
        self.marks.pop(job, None)
        self.places.pop(job, None)

    def take(self) -> Member | None:
        """The next message; it is gone from the queue, whatever becomes of it."""
        return self.queue.pop(0) if self.queue else None

    def claim(self, member: Member, holder: str) -> Taken:
        """Reach for a member; a start is counted with it."""
        if member not in self.members:
            return Taken("gone")
        held_by, until = self.leases.get(member, (holder, 0))
        if held_by != holder and until > self.now:
            return Taken("held")
        self.leases[member] = holder, self.now + LEASE
        self.starts[member] = self.starts.get(member, frozenset()) | {holder}
        return Taken("taken", len(self.starts[member]))

    def renew(self, member: Member, holder: str) -> None:
        """Make a lease good for its full time again, unless it is another's or was given back."""
        if member in self.members and self.leases.get(member, (holder, 0))[0] == holder:
            self.leases[member] = holder, self.now + LEASE

    def remove(self, member: Member) -> None:
        """Take a member out: its outcome is there."""
        self.members.pop(member, None)
        self.leases.pop(member, None)
        self.starts.pop(member, None)

    def give_back(self, member: Member, holder: str) -> None:
        """Give a member back, blameless; it is sent again by a sweep."""
        if member in self.members and self.leases.get(member, (holder, 0))[0] == holder:
            self.leases[member] = "", 0
            self.starts[member] = self.starts.get(member, frozenset()) - {holder}

    def sweep(self) -> None:
        """Send again the messages of members that have no holder and no message."""
        waiting = set(self.queue)
        self.queue += [
            member
            for member in self.members
            if member not in waiting and self.leases.get(member, ("", 0))[1] <= self.now
        ]

    def lose(self, key: str) -> None:
        """Lose a key, as an eviction does, or all of them."""
        if key in ("all", "members"):
            self.members, self.marks = {}, {}
        for name in ("places", "leases", "starts", "queue"):
            if key in ("all", name):
                setattr(self, name, type(getattr(self, name))())

    def snapshot(self) -> dict[str, Any]:
        """The state that a server would find on its disk after a crash."""
        return {name: value.copy() for name, value in vars(self).items() if name != "now"}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a state of the past; the clock goes on."""
        for name, value in snapshot.items():
            setattr(self, name, value.copy())
