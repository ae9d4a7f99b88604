"""A real worker whose real engine misbehaves, and whose disk is full, on demand."""

import errno
import os
import random
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.tokenization.ragged import Ragged
from worker.cli.worker import run_worker
from worker.engines.choice import choose_engine
from worker.engines.engine import PoolStats
from worker.settings import Settings

#: Rows of about one shard; fewer of them take less time.
SHARD_ROWS = 25


class Misbehaving:
    """An engine that is slow, and fails on rows with certain tokens: always, by its mood, or with its whole process.

    The mood is drawn when the process starts, so that two attempts at one row, in two processes that are alive, end
    differently. In some moods it changes from call to call. Once the file `calm` exists, the engine is an ordinary
    one.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._fails_on, self._moody_on, self._kills_on = map(int, os.environ["CHAOS_TOKENS"].split())
        self._calm = Path(os.environ["CHAOS_CALM"])
        self._seconds = float(os.environ["CHAOS_SECONDS"])
        self._mood = random.Random(os.environ["CHAOS_MOOD"])
        self._steady = self._mood.random() < 0.7
        self._salt = self._mood.getrandbits(32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> PoolStats:
        """Wait; raise an error, or kill the process, for certain tokens; otherwise compute with the real engine."""
        time.sleep(self._seconds * min(1.0, sum(shard.rows for shard in shards) / SHARD_ROWS))
        if not self._calm.exists():
            for shard in shards:
                self._misbehave(shard)
        stats: PoolStats = self._engine.compute(shards, outputs, columns)
        return stats

    def _misbehave(self, shard: Ragged) -> None:
        if (shard.values == self._kills_on).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (shard.values == self._fails_on).any():
            raise ValueError(f"token {self._fails_on} can't be computed")
        for place in np.flatnonzero(shard.values == self._moody_on):
            if self._dislikes(int(place - shard.offsets[np.searchsorted(shard.offsets, place, "right") - 1])):
                raise ValueError("not in the mood")

    def _dislikes(self, place: int) -> bool:
        """Whether the row whose moody token is at this place in it fails now."""
        if not self._steady:
            return self._mood.random() < 0.5
        return bool(zlib.crc32(f"{self._salt} {place}".encode()) & 1)


def fill_disk_while(sentinel: Path) -> None:
    """Make every fsync fail with a full disk while the sentinel exists, if no small file system can be mounted."""
    fsync = os.fsync

    def refusing(descriptor: int) -> None:
        if sentinel.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    os.fsync = refusing  # type: ignore[assignment]


if __name__ == "__main__":
    if "CHAOS_DISK_FULL" in os.environ:
        fill_disk_while(Path(os.environ["CHAOS_DISK_FULL"]))
    sys.exit(
        run_worker(
            Settings.from_environ(os.environ),
            "INFO",
            lambda settings, model: Misbehaving(choose_engine(settings, model)),
        )
    )
