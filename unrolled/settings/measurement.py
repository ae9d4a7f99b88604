"""The request of `unrolled plan` to the process that measures an engine, as facts of a payload."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class MeasurementRequest:
    """A measurement; its rows travel beside it.

    Attributes:
        model: the model directory.
        options: the worker's: engine, arithmetic and threads.
        stored: what a job stores, as `OutputSpec.to_options` gives it.
        seconds: about how long to measure.
        pools: how many of the rows are in each pool, in order.
        lengths: real tokens of the rows that are longer than what is sent of them, by their numbers.
    """

    model: str
    options: dict[str, Any]
    stored: dict[str, Any]
    seconds: float
    pools: tuple[int, ...]
    lengths: dict[int, int] = field(default_factory=dict)

    def to_facts(self) -> dict[str, Any]:
        """The request as JSON values."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Read a request.

        Raises:
            RequestError: it isn't one.
        """
        try:
            return cls(
                str(facts["model"]),
                dict(facts["options"]),
                dict(facts["stored"]),
                float(facts["seconds"]),
                tuple(int(rows) for rows in facts["pools"]),
                {int(row): int(length) for row, length in facts["lengths"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RequestError(f"the request of a measurement can't be read ({error!r})") from error
