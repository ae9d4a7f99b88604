"""One figure after the other: measured in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Figure:
    """Something that was measured.

    Attributes:
        what: was measured.
        size: of the job or the fleet.
        value: the figure.
        unit: of it.
        detail: counts and circumstances.
    """

    what: str
    size: int
    value: float
    unit: str
    detail: str = ""

    def line(self) -> str:
        """As a line of the table."""
        return "\t".join((self.what, str(self.size), f"{self.value:.6g}", self.unit, self.detail))


class Clock:
    """Seconds of a block, and the processor seconds of this process in it.

    Attributes:
        seconds: of the block.
        processor: user and system time.
    """

    def __enter__(self) -> Self:
        self._began, self._used = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.processor = time.perf_counter() - self._began, time.process_time() - self._used


def peak_mib() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(measure: Callable[..., list[Figure]], *arguments: Any) -> list[Figure]:
    """What a function measures in a process of its own.

    Raises:
        RuntimeError: the process failed; it has printed why.
    """
    receiving, sending = _FORK.Pipe(duplex=False)

    def run() -> None:
        sending.send(measure(*arguments))

    process = _FORK.Process(target=run)
    process.start()
    sending.close()
    try:
        return list(receiving.recv())
    except EOFError:
        raise RuntimeError(f"{measure.__name__} failed") from None
    finally:
        process.join()
