"""The speed of this machine's engine, measured by a process of its own: the producer has no engine."""

# Over 150 lines: one process, from its request to its last words.

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.terminal.last_words import last_words
from unrolled.errors import UnrolledError
from unrolled.job.payload import Payload, encode, strings
from unrolled.tokenization.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from unrolled.settings.measurement import MeasurementRequest

#: A measurement that takes longer is given up.
_LONGEST_SECONDS = 120.0
_LAST_CHARACTERS = 1 << 14


@dataclass(frozen=True, slots=True)
class PoolSpeed:
    """How fast an engine computes rows of one kind.

    Attributes:
        seconds_per_token: seconds for each real token.
        computed_share: steps that were computed, over tokens, among the rows that were measured.
        whole_rows: whether rows were computed to their ends.
    """

    seconds_per_token: float
    computed_share: float
    whole_rows: bool


@dataclass(frozen=True, slots=True)
class Speed:
    """The result of a measurement.

    Attributes:
        description: one line about the engine.
        start_seconds: from the start of a process until its engine could compute.
        ordinary: the speed with ordinary rows; None if there are none.
        long: the speed with long rows.
        encode_seconds_per_byte: seconds for each byte of a part.
        base_bytes: memory of a worker with its model.
        engine_bytes: memory that the engine took beside its outputs.
    """

    description: str
    start_seconds: float
    ordinary: PoolSpeed | None
    long: PoolSpeed | None
    encode_seconds_per_byte: float
    base_bytes: int
    engine_bytes: int


def measure(request: MeasurementRequest, rows: Sequence[NDArray[np.int32]], *, has_long: bool) -> Speed:
    """Measure.

    Args:
        request: what is measured.
        rows: real token ids of the rows of all of its pools.
        has_long: whether the last pool is that of the long rows.

    Raises:
        UnrolledError: the engine doesn't run here; the text says why.
    """
    # Over 40 lines: one process, and all that can end it.
    tokens = Ragged.from_lengths(np.concatenate(rows), [row.size for row in rows])
    content = encode(Payload(strings([""] * len(rows)), tokens, request.to_facts()))
    began, ready, facts = time.monotonic(), 0.0, dict[str, Any]()
    try:
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.measurement"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            ending = threading.Timer(_LONGEST_SECONDS, process.kill)
            ending.start()
            last = _LastWords(process.stderr)
            try:
                for event, found in _events(process, content):
                    ready = ready or time.monotonic() - began
                    facts |= {event: found, **found}
            except BaseException:
                process.kill()
                raise
            finally:
                ending.cancel()
    except OSError as error:
        raise UnrolledError(f"the engine can't be measured: {error}") from error
    if "failed" in facts:
        raise UnrolledError(str(facts["text"]))
    if "measured" not in facts:
        raise UnrolledError(
            f"the engine can't be measured: its process ended with status {process.returncode}{last.text()}"
        )
    return _speed(facts, ready, has_long=has_long)


def _speed(facts: dict[str, Any], start_seconds: float, *, has_long: bool) -> Speed:
    pools = [
        PoolSpeed(pool["seconds"] / max(pool["tokens"], 1), pool["computed_share"], not pool["level_cut"])
        for pool in facts["pools"]
    ]
    return Speed(
        description=facts["description"],
        start_seconds=start_seconds,
        ordinary=pools[0] if len(pools) > has_long else None,
        long=pools[-1] if has_long else None,
        encode_seconds_per_byte=facts["encode_seconds"] / max(facts["encoded_bytes"], 1),
        base_bytes=facts["loaded_bytes"],
        engine_bytes=facts["engine_bytes"],
    )


def _events(process: subprocess.Popen[bytes], content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    if process.stdin is None or process.stdout is None:
        return
    try:
        process.stdin.write(content)
        process.stdin.close()
    except BrokenPipeError:
        pass  # what it said before it ended is read below
    for line in process.stdout:
        found = json.loads(line)
        yield found.pop("event"), found


class _LastWords(threading.Thread):
    """Reads a process's standard error to its end, because a full pipe would block it."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self._stream, self._last = stream, b""
        self.start()

    def run(self) -> None:
        """Read."""
        for line in self._stream:
            self._last = (self._last + line)[-_LAST_CHARACTERS:]

    def text(self) -> str:
        """The last line that says what went wrong; empty where there is none."""
        self.join(1)
        found = last_words(self._last.decode(errors="replace"))
        return f": {found}" if found else ""
