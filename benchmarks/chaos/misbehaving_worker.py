"""A real worker whose real engine misbehaves, and whose disk is full, on demand."""

import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.ragged import Ragged
from worker.cli.worker import run_worker
from worker.engines.choice import choose_engine
from worker.engines.engine import PoolStats
from worker.settings import Settings


class Misbehaving:
    """An engine that is slow, raises an error for one token id, and kills its process for another."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._fails_on = int(os.environ["CHAOS_FAILS_ON"])
        self._kills_on = int(os.environ["CHAOS_KILLS_ON"])
        self._seconds = float(os.environ["CHAOS_SECONDS"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> PoolStats:
        """Wait; raise an error, or kill the process, for certain tokens; otherwise compute with the real engine."""
        time.sleep(self._seconds)
        tokens = np.concatenate([shard.values for shard in shards])
        if self._kills_on and (tokens == self._kills_on).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (tokens == self._fails_on).any():
            raise ValueError(f"token {self._fails_on} can't be computed")
        stats: PoolStats = self._engine.compute(shards, outputs, columns)
        return stats


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
