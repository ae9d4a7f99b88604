"""Does the broker keep what it is given?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from producer.doctor.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OLDEST = (6, 2)
_TESTED = (7, 0)
_FULL_SHARE, _FILLING_SHARE = 0.95, 0.8
_MIB = 2**20


def check_settings(info: Mapping[str, Any]) -> Iterator[Check]:
    """Look at a broker's version and settings.

    Args:
        info: its answer to INFO; empty where it gives none.
    """
    yield _check_version(info)
    yield _check_role(info)
    yield _check_eviction(info)
    yield _check_persistence(info)
    yield _check_memory(info)


def _check_version(info: Mapping[str, Any]) -> Check:
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = str(info.get("valkey_version", info.get("redis_version", "")))
    numbers = tuple(map(int, re.findall(r"\d+", text)[:2]))
    if len(numbers) != 2:  # noqa: PLR2004 - major and minor
        return Check("broker's version", "unknown", text or "it doesn't say")
    found = f"{name} {text}"
    if name == "Redis" and numbers < _OLDEST:
        return Check("broker's version", "fail", found, "Redis 6.2 or later is needed, or any Valkey")
    if name == "Redis" and numbers < _TESTED:
        return Check("broker's version", "warn", found, "it works, but Unrolled is tested with 7 and later")
    return Check("broker's version", "ok", found)


def _check_role(info: Mapping[str, Any]) -> Check:
    role = str(info.get("role", ""))
    if role in ("slave", "replica"):
        return Check("broker's role", "fail", "a replica, which can't be written to", "name the primary in --broker")
    return Check(
        "broker's role", "ok" if role else "unknown", "primary" if role == "master" else role or "it doesn't say"
    )


def _check_eviction(info: Mapping[str, Any]) -> Check:
    policy = str(info.get("maxmemory_policy", ""))
    if not policy:
        return Check("eviction", "unknown", "it doesn't say", "make sure that maxmemory-policy is noeviction")
    if policy.startswith("allkeys"):
        advice = "set maxmemory-policy noeviction: a full broker would drop queued shards"
        return Check("eviction", "fail" if info.get("maxmemory") else "warn", policy, advice)
    return Check("eviction", "ok", policy)


def _check_persistence(info: Mapping[str, Any]) -> Check:
    aof = info.get("aof_enabled")
    failing = [key for key in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(key, "ok") != "ok"]
    if aof is None:
        return Check("persistence", "unknown", "it doesn't say", "make sure that appendonly is yes")
    if failing:
        advice = "make the broker's disk writable, with room: until then it refuses writes"
        return Check("persistence", "fail", ", ".join(f"{key} is {info[key]}" for key in failing), advice)
    if not aof:
        advice = "set appendonly yes; without it, all shards have to be queued again after a restart"
        return Check("persistence", "warn", "no append-only file", advice)
    return Check("persistence", "ok", "append-only file")


def _check_memory(info: Mapping[str, Any]) -> Check:
    used, limit = info.get("used_memory"), info.get("maxmemory")
    if not isinstance(used, int) or not isinstance(limit, int):
        return Check("broker's memory", "unknown", "it doesn't say")
    if not limit:
        return Check("broker's memory", "ok", f"{_mib(used)} MiB used, no limit but the machine's")
    share = used / limit
    found = f"{_mib(used)} of {_mib(limit)} MiB used ({100 * share:.0f} %)"
    if share > _FULL_SHARE:
        return Check(
            "broker's memory",
            "fail",
            found,
            "raise maxmemory, or remove what else is in it: it takes no more",
        )
    if share > _FILLING_SHARE:
        return Check("broker's memory", "warn", found, "raise maxmemory, or lower --max-queued-tokens")
    return Check("broker's memory", "ok", found)


def _mib(size: int) -> str:
    """Bytes in MiB; small sizes, which two figures have to tell apart, with a decimal."""
    return f"{size / _MIB:,.{1 if size < 100 * _MIB else 0}f}"
