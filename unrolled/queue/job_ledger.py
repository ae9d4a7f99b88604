"""The ledger as one job sees it: calls are tried until the server answers, and the hints of new lives are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unrolled.queue.member import Member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.job.names import Life
    from unrolled.patience import Steadily
    from unrolled.queue.ledger import Ledger

#: Sends the hint of one life to the workers.
Send = Callable[[Member], None]


class JobLedger:
    """See `unrolled.protocol.ledger_update.JobLedger`.

    Every method raises what `steadily` raises when it gives up.

    Args:
        ledger: the ledger of the job's offer.
        job_key: the job's key.
        place: path or URL of the job's store.
        send: sends a hint; if it is lost, a sweep sends it again.
        steadily: runs an action until it works.
        priority: the job's share of the workers, see `Ledger.enter`; None for what the ledger knows.

    Attributes:
        sent: number of hints sent so far.
        taken: number of shards that `cancel` has taken out.
    """

    def __init__(
        self, ledger: Ledger, job_key: str, place: str, send: Send, steadily: Steadily, priority: int | None = None
    ) -> None:
        self.sent = self.taken = 0
        self._ledger = ledger
        self._job_key = job_key
        self._place = place
        self._send = send
        self._steadily = steadily
        self._priority = priority

    def mark(self) -> int | None:
        """See `unrolled.protocol.ledger_update.JobLedger`."""
        return self._steadily("reach the broker", lambda: self._ledger.mark(self._job_key))

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        """See `unrolled.protocol.ledger_update.JobLedger`; sends the hints of those that are new."""
        members = [(Member(self._job_key, life), tokens) for life, tokens in lives]
        new = self._steadily(
            "reach the broker",
            lambda: self._ledger.enter(self._job_key, self._place, expected, members, becomes, self._priority),
        )
        for member in new or ():
            self._steadily("reach the broker", lambda member=member: self._send(member))  # type: ignore[misc]
            self.sent += 1
        return new is not None

    def cancel(self) -> None:
        """See `unrolled.protocol.ledger_update.JobLedger`."""
        self.taken += self._steadily("reach the broker", lambda: self._ledger.cancel(self._job_key))

    def forget(self, length: int) -> None:
        """See `unrolled.protocol.ledger_update.JobLedger`."""
        self._steadily("reach the broker", lambda: self._ledger.forget(self._job_key, length))
