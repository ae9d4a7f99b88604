"""Watches a job throughout: every part that is visible is whole and stays, no row is in two, and "complete" is true."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

from contents import read_part
from truth import Snapshot, snapshot, why_untrue

import unrolled
from producer.jobs.status_reader import StatusReader
from unrolled.errors import TransientError, UnrolledError
from unrolled.job import names
from unrolled.protocol.opening import open_job

#: Seconds between two looks; a look at a job that is complete costs most, and is worth least.
PAUSE_SECONDS, COMPLETE_PAUSE_SECONDS = 0.08, 0.4
#: Looks between two of the public reader.
READER_EVERY = 10


class Watcher:
    """Looks at a job's objects, asks the product for its status, and reads what it has published, again and again.

    Args:
        place: where the objects are.
        address: as the product opens it.
        rows: of the input; None for a stream.
        lossy: whether reading may fail for a while, as from a server that goes wrong.

    Attributes:
        looks: how many times the parts were listed.
        claims: how many times the job was said to be complete.
        first_seen: the contents of each part when it was first seen, by name.
        failures: a text for each thing that must not be.
    """

    def __init__(self, place: Path, address: str, rows: int | None, *, lossy: bool) -> None:
        self.looks = self.claims = 0
        self.first_seen: dict[str, bytes] = {}
        self.failures: list[str] = []
        self._place = place
        self._address = address
        self._rows = rows
        self._lossy = lossy
        self._in: dict[str, str] = {}
        self._pause = PAUSE_SECONDS
        self._reader: StatusReader | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check_claim(self, who: str, before: Snapshot) -> None:
        """Check that a job was complete, which somebody has just said.

        Args:
            who: said it.
            before: the job before they looked.
        """
        self.claims += 1
        if why := why_untrue(before, snapshot(self._place), self._rows):
            self.failures.append(f"{who} said complete, and it wasn't: {why}")

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self._look_at_parts()
                if (self._place / names.JOB).exists():
                    self._ask_status()
                if self.first_seen and self.looks % READER_EVERY == 0:
                    self._read()
            except Exception as error:  # noqa: BLE001 - whatever the error is, a reader met it
                self.failures.append(f"the watcher met {type(error).__name__}: {error}")

    def _look_at_parts(self) -> None:
        self.looks += 1
        found = {path.name: path for path in self._place.glob("*.parquet")}
        if gone := self.first_seen.keys() - found.keys():
            self.failures.append(f"parts that were there are gone: {sorted(gone)}")
        for name in found.keys() - self.first_seen.keys():
            content = found[name].read_bytes()
            self.first_seen[name] = content
            try:
                rows = read_part(content)
            except Exception as error:  # noqa: BLE001 - whatever the error is, a reader saw a partial file
                self.failures.append(f"{name} was visible but not whole: {error}")
                continue
            for row in rows.ids:
                if (other := self._in.setdefault(row, name)) != name:
                    self.failures.append(f"{row} is in {other} and in {name}")

    def _ask_status(self) -> None:
        before = snapshot(self._place)
        try:
            self._reader = self._reader or StatusReader(open_job(self._address), None, "unrolled")
            complete = self._reader.read().finished
        except TransientError as error:
            if not self._lossy:
                self.failures.append(f"the status can't be read: {error}")
            return
        self._pause = COMPLETE_PAUSE_SECONDS if complete else PAUSE_SECONDS
        if complete:
            self.check_claim("status", before)

    def _read(self) -> None:
        """Read all rows as a user does: all that were published when it began, and none twice."""
        least = {row for row, part in self._in.items() if part in self.first_seen}
        try:
            ids = [row.id for row in unrolled.open(self._address)]
        except UnrolledError as error:
            if not self._lossy:
                self.failures.append(f"the reader fails: {error}")
            return
        if len(set(ids)) != len(ids):
            self.failures.append("the reader gave a row twice")
        if not least <= set(ids):
            self.failures.append(f"the reader left out {len(least - set(ids))} rows")
