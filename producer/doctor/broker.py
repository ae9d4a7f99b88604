"""Can the broker be reached and used?"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import redis

from producer.doctor.broker_settings import check_settings
from producer.doctor.check import Check
from unrolled.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.queue.broker import Broker

#: A person waits for the answer.
SOCKET_SECONDS = 5.0
_PINGS = 5
_SLOW_PING_SECONDS = 0.05
_SKEW_SECONDS = 5.0


def check_broker(broker: Broker) -> Iterator[Check]:
    """Look at a broker; the first check alone where it can't be reached."""
    reached = _check_reached(broker)
    yield reached
    if reached.outcome == "fail":
        return
    client = broker.client
    info = _ask(lambda: client.info("all"))
    if not isinstance(info, dict):
        yield Check("broker's settings", "unknown", info, "this user may not read INFO; look at them as another user")
        info = {}
    yield from check_settings(info)
    yield _check_scripts(client)
    yield _check_clock(client)


def _check_reached(broker: Broker) -> Check:
    seconds = []
    try:
        with broker.asked():
            for _ in range(_PINGS):
                began = time.perf_counter()
                broker.client.ping()
                seconds.append(time.perf_counter() - began)
    except BrokerError as error:
        return Check("broker", "fail", error.found.removeprefix("broker "), error.advice)
    median = statistics.median(seconds)
    found = f"{broker.shown} answers in {1000 * median:.1f} ms"
    if median > _SLOW_PING_SECONDS:
        advice = "each shard asks it some ten times; move it nearer, or make --shard-tokens larger"
        return Check("broker", "warn", found, advice)
    return Check("broker", "ok", found)


def _check_scripts(client: redis.Redis) -> Check:
    answer = _ask(client.register_script("return redis.call('TIME')"))
    if isinstance(answer, str):
        return Check("scripts", "fail", answer, "allow EVALSHA and SCRIPT LOAD to this user: scripts keep the ledger")
    return Check("scripts", "ok", "allowed")


def _check_clock(client: redis.Redis) -> Check:
    began = time.time()
    answer = _ask(client.time)
    if isinstance(answer, str):
        return Check("clocks", "unknown", answer)
    seconds, microseconds = answer
    skew = seconds + microseconds / 1e6 - (began + time.time()) / 2
    found = f"the broker's is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > _SKEW_SECONDS:
        advice = "set both clocks, so that logs can be compared; leases depend on the broker's clock alone"
        return Check("clocks", "warn", found, advice)
    return Check("clocks", "ok", found)


def _ask(question: Any) -> Any:
    """The answer, or a string that says why there is none: managed servers forbid or lack some commands."""
    try:
        return question()
    except redis.RedisError as error:
        return str(error) or type(error).__name__
