"""Watches an output directory: every file that is visible must be complete."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq

PAUSE_SECONDS = 0.02


class Watcher:
    """Reads each whole file as soon as it is visible, and keeps its contents.

    Attributes:
        looks: how many times the directory was listed.
        first_seen: the contents of each file when it was first seen, by name.
        failures: a text for each file that should not have been visible.
    """

    def __init__(self, directory: Path) -> None:
        self.looks = 0
        self.first_seen: dict[str, bytes] = {}
        self.failures: list[str] = []
        self._directory = directory
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            self.looks += 1
            for path in self._directory.glob("*.parquet"):
                if path.name not in self.first_seen:
                    content = path.read_bytes()
                    self.first_seen[path.name] = content
                    try:
                        pq.read_table(io.BytesIO(content), page_checksum_verification=True)
                    except Exception as error:  # noqa: BLE001 - whatever the error is, a reader saw a partial file
                        self.failures.append(f"{path.name} was visible but not whole: {error}")
