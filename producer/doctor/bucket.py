"""Can a job publish into the bucket?"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from producer.doctor.check import Check
from unrolled.errors import UnrolledError
from unrolled.store.place import check_creates_once, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.store.bucket import BucketStore

_SLOW_LISTING_SECONDS = 1.0
#: A server's times have no fractions of a second.
_SKEW_SECONDS = 5.0


def check_bucket(url: str) -> Iterator[Check]:
    """Look at a prefix into which a job is to publish; one object is created there, and deleted again.

    Args:
        url: the URL of the prefix.
    """
    try:
        store: Any = open_store(url)
        began = time.perf_counter()
        empty = not list(itertools.islice(store.list(), 1))
        seconds = time.perf_counter() - began
    except UnrolledError as error:
        yield _failed("bucket", error)
        return
    found = f"{store}: can be listed, in {1000 * seconds:.0f} ms{'; it is empty' if empty else ''}"
    if seconds > _SLOW_LISTING_SECONDS:
        yield Check("bucket", "warn", found, "each part needs several answers; move the workers nearer to the bucket")
    else:
        yield Check("bucket", "ok", found)
    yield from _check_creation(store)


def _check_creation(store: BucketStore) -> Iterator[Check]:
    clock: list[Check] = []

    def look(name: str) -> None:
        clock.append(_check_clock(store.changed_at(name)))

    try:
        check_creates_once(store, look)
    except UnrolledError as error:
        yield _failed("created once", error)
    else:
        yield Check(
            "created once", "ok", "an object that exists isn't replaced; the one of this trial is deleted again"
        )
    yield from clock


def _check_clock(created: float) -> Check:
    skew = created - time.time()
    found = f"it is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > _SKEW_SECONDS:
        advice = "set this machine's clock; clouds refuse requests that are minutes early or late"
        return Check("bucket's clock", "warn", found, advice)
    return Check("bucket's clock", "ok", "this machine's agrees with it")


def _failed(name: str, error: UnrolledError) -> Check:
    """The error's text, whose last part says what to do."""
    found, _, advice = str(error).rpartition("; ")
    return Check(name, "fail", found or str(error), advice if found else "")
