"""A model of the ledger for one job, as the simulation needs it: the same calls, kept in dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.job.names import Life

LEASE = 14


class LedgerModel:
    """Who computes what now; the mark lies in one key with the members."""

    def __init__(self) -> None:
        self.members: dict[Life, bool] = {}
        self.mark: int | None = None
        self.leases: dict[Life, tuple[str, int]] = {}
        self.starts: dict[Life, set[str]] = {}
        self.queue: list[Life] = []
        self.now = 0

    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.members) or bool(self.queue)

    def told(self) -> int | None:
        return self.mark

    def enter(self, expected: int | None, lives: list[tuple[Life, int]], becomes: int) -> bool:
        if self.mark != expected:
            return False
        for life, _ in lives:
            if life not in self.members:
                self.members[life] = True
                self.queue.append(life)
        self.mark = becomes
        return True

    def cancel(self) -> None:
        self.members, self.leases, self.starts, self.mark = {}, {}, {}, None

    def take(self) -> Life | None:
        return self.queue.pop(0) if self.queue else None

    def claim(self, life: Life, holder: str) -> tuple[str, int]:
        if life not in self.members:
            return "gone", 0
        held, until = self.leases.get(life, (holder, 0))
        if held != holder and until > self.now:
            return "held", 0
        self.leases[life] = holder, self.now + LEASE
        self.starts.setdefault(life, set()).add(holder)
        return "taken", len(self.starts[life])

    def renew(self, life: Life, holder: str) -> None:
        if life in self.members and self.leases.get(life, (holder, 0))[0] == holder:
            self.leases[life] = holder, self.now + LEASE

    def remove(self, life: Life) -> None:
        for table in (self.members, self.leases, self.starts):
            table.pop(life, None)  # type: ignore[attr-defined]

    def give_back(self, life: Life, holder: str) -> None:
        if life in self.members and self.leases.get(life, ("", 0))[0] == holder:
            del self.leases[life]
            self.starts.get(life, set()).discard(holder)

    def sweep(self) -> None:
        held = {life for life, (_, until) in self.leases.items() if until > self.now}
        self.queue += [life for life in self.members if life not in held and life not in self.queue]

    def lose(self, what: str) -> None:
        """Redis comes back empty, or has evicted a key."""
        if what in ("all", "members"):
            self.members, self.mark = {}, None
        for name in ("leases", "starts", "queue"):
            if what in ("all", name):
                setattr(self, name, type(getattr(self, name))())


class View:
    """The ledger as one actor sees it: every call is an operation that the scheduler decides on."""

    def __init__(self, world: Any, who: str) -> None:
        self._world, self._who = world, who

    def __getattr__(self, method: str) -> Any:
        holder = method in ("claim", "give_back")
        return lambda *a: self._world.ledger_op(method, (*a, self._who) if holder else a)

    def wait_for_room(self) -> None:
        """There is always room."""

    def is_time(self) -> bool:
        """A segment holds one to three shards."""
        return bool(self._world.rng.random() < 0.6)
