"""The ledger as one worker uses it: with its holder name, and patient while the server is away."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from unrolled.patience import Steadily
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Lease, Ledger, Start
    from unrolled.queue.member import Member

log = logging.getLogger(__name__)


class WorkerLeases:
    """See `worker.runtime.attempt.Leases`.

    Args:
        ledger: the ledger of the worker's offer.
        holder: names the worker in the ledger.
        steadily: tries an action until it works.
        send: sends one shard's message.
        on_choice: called with each shard that is chosen, in the thread that computes it next.
    """

    def __init__(
        self,
        ledger: Ledger,
        holder: str,
        steadily: Steadily,
        send: Send,
        on_choice: Callable[[Member], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._holder = holder
        self._steadily = steadily
        self._send = send
        self._on_choice = on_choice

    def choose(self, hint: Member, without: Collection[str]) -> Member | None:
        """See `Leases`."""
        member = self._steadily("reach the broker", lambda: self._ledger.choose(hint, without))
        if member is not None:
            self._on_choice(member)
        return member

    def pass_on(self, hint: Member) -> None:
        """See `Leases`."""
        try:
            self._send(hint)
        except Exception as error:  # noqa: BLE001 - the ledger keeps the shards, whatever happens here
            log.info("a message couldn't be passed on (%s); it is sent again when a lease is over", error)

    def claim(self, member: Member) -> Lease:
        """See `Leases`."""
        return self._steadily("reach the broker", lambda: self._ledger.claim(member, self._holder))

    def start_alone(self, member: Member) -> int:
        """See `Leases`."""
        return self._steadily("reach the broker", lambda: self._ledger.start_alone(member))

    def remove(self, member: Member) -> bool:
        """See `Leases`."""
        return self._steadily("reach the broker", lambda: self._ledger.remove(member))

    def give_back(self, member: Member, start: Start, *, send: bool) -> None:
        """See `Leases`."""
        try:
            if self._ledger.give_back(member, self._holder, start, at_once=send) and send:
                self._send(member)
        except Exception as error:  # noqa: BLE001 - the ledger keeps the shard, whatever happens here
            log.warning("%s: couldn't be given back (%s); its lease expires by itself", member, error)
