"""A family: one figure that a process serves, with its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from unrolled.telemetry.distribution import Buckets

#: The values of a family: for each set of labels, a number, or the buckets of a distribution.
Values: TypeAlias = Sequence[tuple[Mapping[str, str], float | Buckets]]


@dataclass(frozen=True, slots=True)
class Family:
    """A figure, named by the rules of Prometheus.

    Attributes:
        name: begins with `unrolled_`, and ends in the plural of a base unit where there is one; `_total` is added to a
            counter's.
        help: what is measured.
        kind: a counter never falls while the process lives.
        values: what is measured now. Labels are few, and have few values each: never a shard, a job, a row or a path.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    values: Values

    @classmethod
    def counter(cls, name: str, about: str, value: float) -> Family:
        """A counter without labels."""
        return cls(name, about, "counter", [({}, value)])

    @classmethod
    def gauge(cls, name: str, about: str, value: float) -> Family:
        """A gauge without labels."""
        return cls(name, about, "gauge", [({}, value)])

    @classmethod
    def info(cls, name: str, about: str, **facts: str) -> Family:
        """Facts about the process, as the labels of a gauge that is 1."""
        return cls(name, about, "gauge", [(facts, 1.0)])
