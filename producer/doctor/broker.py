"""Can the broker be reached and used?"""

from __future__ import annotations

import statistics
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

import redis

from producer.doctor.broker_settings import check_settings
from producer.doctor.check import Check
from producer.queue.queue_status import why_no_writes
from unrolled.errors import BrokerError, printable
from unrolled.job.offer import Offer
from unrolled.queue.broker import AWAY
from unrolled.queue.keys import Keys
from unrolled.queue.ledger import MOST_OFFERS, as_text
from unrolled.queue.messages import queue_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.queue.broker import Broker

#: A person waits for the answer.
SOCKET_SECONDS = 5.0
_PINGS = 5
_SLOW_PING_SECONDS = 0.05
_SKEW_SECONDS = 5.0
#: Commands that producers may give, and the keys that answer them.
_ASKED = {
    "ZCARD": ("ledger", "leases", "order", "later"),
    "HEXISTS": (
        "tokens", "holders", "started", "lonely", "ranks", "priorities", "producers", "jobs", "left", "workers",
    ),
    "LLEN": ("queue",),
}  # fmt: skip
#: Where kombu, with which shards are sent, keeps the names of their queues.
BINDINGS = ("_kombu.binding.", "_kombu.binding_permanent.")


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


def check_keys(broker: Broker, namespace: str) -> Iterator[Check]:
    """Name the keys of a namespace to which something else has written; no check if there is none."""
    try:
        offers = set(filter(None, (Offer.parse(as_text(raw)) for raw in broker.client.smembers(f"{namespace}:offers"))))
        found = (_wrong_keys(broker.client, namespace, offer) for offer in sorted(offers)[:MOST_OFFERS])
        wrong = list(dict.fromkeys(chain.from_iterable(found)))  # ledgers share some
    except AWAY as error:
        if "WRONGTYPE" not in str(error):
            return
        wrong = [f"{namespace}:offers"]
    if wrong:
        more = f", and so are {len(wrong) - 1} more" if len(wrong) > 1 else ""
        advice = "delete it: everything in it is entered again by workers, and by `unrolled wait` of each job"
        yield Check("queue", "fail", printable(f"the key {wrong[0]} is of another kind than Unrolled's{more}"), advice)


def check_writes(broker: Broker, namespace: str) -> Iterator[Check]:
    """Say if a broker takes no writes now, though it answers; no check if it does."""
    if why := why_no_writes(broker.client, f"{namespace}:offers"):
        yield Check("queue", "fail", f"the broker {why[0]}", why[1])


def _wrong_keys(client: Any, namespace: str, offer: Offer) -> list[str]:
    """The keys of a ledger that aren't of the kind that it needs; each is asked for what its kind alone answers."""
    keys, pipe = Keys.of(namespace, offer), client.pipeline(transaction=False)
    asked = [(command, getattr(keys, name)) for command, names in _ASKED.items() for name in names]
    asked += [("SMEMBERS", f"{namespace}:{prefix}{queue_name(offer)}") for prefix in BINDINGS]
    for command, key in asked:
        pipe.execute_command(command, key, *([""] if command == "HEXISTS" else []))
    answers = pipe.execute(raise_on_error=False)
    return [key for (_, key), answer in zip(asked, answers, strict=True) if "WRONGTYPE" in str(answer)]


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
