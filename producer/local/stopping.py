"""Lines for people while the workers of a run finish what they compute."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from producer.terminal.lines import tell
from unrolled.errors import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.protocol.opening import OpenJob

#: Seconds between two lines.
SAY_SECONDS = 5.0


def shards_at_work(url: str, namespace: str, job: OpenJob) -> int:
    """How many shards of a job are being computed; 0 if the broker doesn't say."""
    from unrolled.queue.broker import Broker  # noqa: PLC0415 - loads redis, which `run` has loaded by then

    try:
        with closing(Broker(url)) as broker, broker.asked():
            return len(broker.ledger(namespace, job.job.offer).running(job.key)[0])
    except Exception:  # noqa: BLE001 - whatever is wrong with the broker, the workers end
        return 0


def tell_what_is_left(
    running: Callable[[], int], at_work: Callable[[], int], grace_seconds: float, again: str
) -> threading.Thread:
    """Say now and then how many shards are still being computed, until no worker runs.

    A thread does it, because a broker may take long to answer, and the workers end meanwhile.

    Args:
        running: gives the number of workers that haven't ended.
        at_work: gives the number of shards that they compute.
        grace_seconds: how long they may take.
        again: what Ctrl-C does; empty where it does nothing.
    """
    began = time.monotonic()

    def tell_until_the_end() -> None:
        wait = threading.Event()
        while not wait.wait(SAY_SECONDS) and running():
            shards, workers = at_work(), running()
            left = grace_seconds - (time.monotonic() - began)
            if workers:
                tell(f"{_line(shards, workers, left)}{again}")

    thread = threading.Thread(target=tell_until_the_end, name="stopping", daemon=True)
    thread.start()
    return thread


def _line(shards: int, workers: int, seconds_left: float) -> str:
    if not shards:
        return f"{counted(workers, 'worker is', 'workers are')} still ending."
    found = f"{counted(shards, 'shard is', 'shards are')} still being computed or written"
    if seconds_left < 1:
        return f"{found}; the time for this is over, so the workers give back what they hold."
    return f"{found}, for up to {counted(int(seconds_left), 'second')} more."
