"""The ledger as one job sees it: every call waits until the server answers, and new lives are sent to the workers."""

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
    """What `unrolled.protocol.telling` is given.

    Every method raises whatever `steadily` raises where it gives up.

    Args:
        ledger: of the job's offer.
        job_key: of the job.
        place: path or URL of its store.
        send: sends hints; one that is lost is sent again by a sweep.
        steadily: tries an action until it works.
    """

    def __init__(self, ledger: Ledger, job_key: str, place: str, send: Send, steadily: Steadily) -> None:
        self.sent = 0
        self._ledger = ledger
        self._job_key = job_key
        self._place = place
        self._send = send
        self._steadily = steadily

    def told(self) -> int | None:
        """See `unrolled.protocol.telling.JobLedger`."""
        return self._steadily("reach the broker", lambda: self._ledger.told(self._job_key))

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        """See `unrolled.protocol.telling.JobLedger`; sends the hints of those that are new."""
        members = [(Member(self._job_key, life), tokens) for life, tokens in lives]
        new = self._steadily(
            "reach the broker",
            lambda: self._ledger.enter(self._job_key, self._place, expected, members, becomes),
        )
        for member in new or ():
            self._steadily("reach the broker", lambda member=member: self._send(member))  # type: ignore[misc]
            self.sent += 1
        return new is not None

    def cancel(self) -> None:
        """See `unrolled.protocol.telling.JobLedger`."""
        self._steadily("reach the broker", lambda: self._ledger.cancel(self._job_key))

    def forget(self, length: int) -> None:
        """See `unrolled.protocol.telling.JobLedger`."""
        self._steadily("reach the broker", lambda: self._ledger.forget(self._job_key, length))
