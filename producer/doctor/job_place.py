"""Do workers look for a job where it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.doctor.check import Check
from producer.queue.copies import MOST_PLACE_CHARACTERS, find_original, was_moved
from unrolled.errors import BrokerError, as_argument, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.broker import Broker

_AGAIN = "the same `unrolled run` or `unrolled enqueue`"


def check_place(server: Broker, namespace: str, job: OpenJob) -> Iterator[Check]:
    """Compare a job's place with the one that the broker has; nothing if no shard of it waits there.

    Args:
        server: the broker.
        namespace: prefix of every key there.
        job: the job, as it was opened.
    """
    ledger = server.ledger(namespace, job.job.offer)
    try:
        with server.asked():
            left, place = ledger.known([job.key])[0].left, ledger.place_of(job.key)
    except BrokerError:
        return  # the next check names it
    if not left or place is None:
        return
    if original := find_original(job, place):
        where = printable(original)
        yield Check(
            "job's place",
            "fail",
            f"the broker has this job at {where}, and {job.place} seems to be a copy: workers compute it only there",
            f"use {where}; or, to continue in the copy: unrolled cancel {as_argument(where)}, then {_AGAIN}",
        )
    elif was_moved(job, place):
        where = printable(place[:MOST_PLACE_CHARACTERS])
        advice = f"if you have moved it, run {_AGAIN} again, which tells them where it is now"
        yield Check("job's place", "fail", f"workers look for this job at {where}", advice)
