"""The end of a worker whose broker hangs: it waits for no more answers.

A worker that stops tells the broker so: it gives shards back, takes its heartbeat away, and Celery leaves its queues.
Each of these questions has a time-out of its own, 10 or 30 seconds, so together they can take more than a minute. None
is needed: to a broker that hears no farewell, the worker looks like one that was killed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import redis

from unrolled.queue.broker import AWAY, Broker

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: How long the broker may give no answer once nothing on board is waited for, and the pause between two questions.
FAREWELL_SECONDS, PAUSE_SECONDS = 5.0, 0.5


class Farewell:
    """Ends this process if, while it takes its leave, the broker gives no answer.

    The broker is asked on a connection of its own, so it counts whether it answers, not how long a question takes that
    this worker has asked; and a worker that still writes a part keeps its time while the broker answers.

    Args:
        url: of the broker.
        status: gives the exit status.
    """

    def __init__(self, url: str, status: Callable[[], int]) -> None:
        self._url = url
        self._status = status
        self._begun = threading.Lock()

    def begin(self) -> None:
        """Begin to watch, in a thread that ends with the process; further calls change nothing."""
        if not self._begun.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._watch, name="farewell", daemon=True).start()
        except RuntimeError as error:  # no more threads or memory; what this worker gives back doesn't need one
            log.warning("can't see whether the broker answers while this worker ends: %s", error)

    def _watch(self) -> None:
        try:
            self._wait_for_silence()
        except OSError as error:  # no socket can be opened; the questions of others end by themselves
            log.warning("can't see whether the broker answers while this worker ends: %s", error)
            return
        logging.shutdown()
        os._exit(self._status())

    def _wait_for_silence(self) -> None:
        with closing(Broker(self._url, FAREWELL_SECONDS)) as broker:
            answered = time.monotonic()
            while time.monotonic() - answered < FAREWELL_SECONDS:
                try:
                    broker.client.ping()
                except redis.ResponseError:  # a refusal is an answer
                    answered = time.monotonic()
                except AWAY as error:
                    log.debug("no answer: %s", error)
                else:
                    answered = time.monotonic()
                time.sleep(PAUSE_SECONDS)
        log.warning(
            "broker %s gives no answer for %.0f s: this worker ends without taking its leave; what it hasn't given "
            "back is taken up by others when its leases have expired",
            broker.shown,
            FAREWELL_SECONDS,
        )
