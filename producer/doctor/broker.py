"""Is the broker there, and does it keep what it is given?"""

from __future__ import annotations

import re
import statistics
import time
from typing import TYPE_CHECKING, Any

import redis

from producer.doctor.check import Check
from unrolled.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unrolled.queue.broker import Broker

#: A person waits for the answer.
SOCKET_SECONDS = 5.0
_PINGS = 5
_SLOW_PING_SECONDS = 0.05
_SKEW_SECONDS = 5.0
_OLDEST = (6, 2)
_TESTED = (7, 0)
_FULL_SHARE, _FILLING_SHARE = 0.95, 0.8
_MIB = 2**20


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
    yield _check_version(info)
    yield _check_role(info)
    yield _check_eviction(info)
    yield _check_persistence(info)
    yield _check_memory(info)
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
        return Check(
            "broker", "warn", found, "each shard asks it some ten times; move it nearer, or make --shard-tokens larger"
        )
    return Check("broker", "ok", found)


def _check_version(info: Mapping[str, Any]) -> Check:
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = str(info.get("valkey_version", info.get("redis_version", "")))
    numbers = tuple(map(int, re.findall(r"\d+", text)[:2]))
    if len(numbers) != 2:  # noqa: PLR2004 - major and minor
        return Check("broker's version", "unknown", text or "not told")
    found = f"{name} {text}"
    if name == "Redis" and numbers < _OLDEST:
        return Check("broker's version", "fail", found, "Redis 6.2 or later is needed, or any Valkey")
    if name == "Redis" and numbers < _TESTED:
        return Check("broker's version", "warn", found, "it works, but this product is tested with 7 and later")
    return Check("broker's version", "ok", found)


def _check_role(info: Mapping[str, Any]) -> Check:
    role = str(info.get("role", ""))
    if role in ("slave", "replica"):
        return Check("broker's role", "fail", "a replica, which can't be written to", "name the primary in --broker")
    return Check("broker's role", "ok" if role else "unknown", "primary" if role == "master" else role or "not told")


def _check_eviction(info: Mapping[str, Any]) -> Check:
    policy = str(info.get("maxmemory_policy", ""))
    if not policy:
        return Check("eviction", "unknown", "not told", "make sure that maxmemory-policy is noeviction")
    if policy.startswith("allkeys"):
        advice = "set maxmemory-policy noeviction: a full broker would throw queued shards away"
        return Check("eviction", "fail" if info.get("maxmemory") else "warn", policy, advice)
    return Check("eviction", "ok", policy)


def _check_persistence(info: Mapping[str, Any]) -> Check:
    aof = info.get("aof_enabled")
    failing = [key for key in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(key, "ok") != "ok"]
    if aof is None:
        return Check("persistence", "unknown", "not told", "make sure that appendonly is yes")
    if failing:
        advice = "the broker refuses to write until its own disk has room and can be written"
        return Check("persistence", "fail", ", ".join(f"{key} is {info[key]}" for key in failing), advice)
    if not aof:
        advice = "set appendonly yes; without it a restart costs the time to enter all again"
        return Check("persistence", "warn", "no append-only file", advice)
    return Check("persistence", "ok", "append-only file")


def _check_memory(info: Mapping[str, Any]) -> Check:
    used, limit = info.get("used_memory"), info.get("maxmemory")
    if not isinstance(used, int) or not isinstance(limit, int):
        return Check("broker's memory", "unknown", "not told")
    if not limit:
        return Check("broker's memory", "ok", f"{used / _MIB:,.0f} MiB used, no limit but the machine's")
    share = used / limit
    found = f"{used / _MIB:,.0f} of {limit / _MIB:,.0f} MiB used ({100 * share:.0f} %)"
    if share > _FULL_SHARE:
        return Check(
            "broker's memory",
            "fail",
            found,
            "raise maxmemory, or see what else is in there: it takes no more",
        )
    if share > _FILLING_SHARE:
        return Check("broker's memory", "warn", found, "raise maxmemory, or lower --max-queued-tokens")
    return Check("broker's memory", "ok", found)


def _check_scripts(client: redis.Redis) -> Check:
    answer = _ask(client.register_script("return redis.call('TIME')"))
    if isinstance(answer, str):
        return Check(
            "scripts",
            "fail",
            answer,
            "allow EVALSHA and SCRIPT LOAD to this user: the ledger is kept by scripts",
        )
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
        return Check("clocks", "warn", found, "leases go by the broker's alone, but set both: logs can't be compared")
    return Check("clocks", "ok", found)


def _ask(question: Any) -> Any:
    """The answer, or as a string why there is none: managed servers forbid or drop some commands."""
    try:
        return question()
    except redis.RedisError as error:
        return str(error) or type(error).__name__
