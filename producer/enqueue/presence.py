"""Shows in the broker that a producer is at work on a job: a stream that is quiet isn't one that was left."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from unrolled.queue.broker import AWAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.patience import Patience
    from unrolled.queue.ledger import Ledger

#: Seconds between two signs of life, and for how long each counts: three may be lost.
PAUSE, SECONDS = 5.0, 20.0
#: A stop waits for so long for the last word to the broker; without it, the sign runs out.
_GOODBYE_SECONDS = 1.0


@contextmanager
def present(ledger: Ledger, job_key: str, patience: Patience) -> Iterator[None]:
    """Show that a producer is at work on a job, for as long as the block runs; a broker that is away misses it.

    Args:
        ledger: the ledger of the job's offer.
        job_key: the job's key.
        patience: knows what is in the producer's way, such as a full disk.
    """
    over = threading.Event()

    def show() -> None:
        while not over.is_set():
            with suppress(*AWAY, OSError, MemoryError):
                troubles = patience.troubles()
                ledger.say_fed(job_key, SECONDS, troubles[-1][1] if troubles else "")
            over.wait(PAUSE)
        with suppress(*AWAY, OSError):  # the connection may be closed: the end waits only for a moment
            ledger.say_unfed(job_key)

    thread = threading.Thread(target=show, name="presence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_GOODBYE_SECONDS)
