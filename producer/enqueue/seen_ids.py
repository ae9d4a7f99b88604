"""Duplicate ids, found exactly and in constant memory."""

# Over 150 lines: one database, and what it says where it can't be written.

import contextlib
import resource
import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import TracebackType
from typing import Self

from producer.sources.rows import BadRow, Row, RowBatch, automatic_id
from unrolled.errors import TransientError
from unrolled.patience import Steadily, at_once

# A place is one integer of 63 bits: the number of the file (below 2^27), and that of the row in it (below 2^36).
_POSITION_BITS = 36
_CACHE_KIB = 16 * 1024
# Whether such a row comes isn't known while rows are read, and each reading must decide alike.
_RESERVED = "ids of the form <input>#<number> are kept for rows without an id; give this row another one"


class SeenIds:
    """Records on disk where each id that a user gave was first seen.

    Ids are kept as 128-bit BLAKE2b hashes: among 10**9 ids, the chance that any two collide is about 10**-21. The
    file has no name as soon as it is open, so its bytes are free when the process ends, even if it is killed; a new run
    reads its input again and so fills a new one. A row that is read again from its own file and position is no
    duplicate.

    Args:
        files: labels of all inputs; automatic ids are made of them.
        disk: the directory in which the file is made, with about 50 bytes an id; None for that of temporary files.
        steadily: tries each batch until its ids are kept; by default once. With rows that can't be read again, nothing
            else will do.

    Raises:
        TransientError: the directory can't be written to.
    """

    def __init__(self, files: Iterable[str], disk: str | None = None, steadily: Steadily = at_once) -> None:
        self._labels = list(files)
        self._numbers = {label: number for number, label in enumerate(self._labels)}
        self._disk = disk
        self._steadily = steadily
        # Without a journal a batch that failed can't be taken back and tried again; that in memory is for one batch.
        journal = "OFF" if steadily is at_once else "MEMORY"
        try:
            # No other file is made: the journal is off, or in memory.
            with TemporaryDirectory(prefix="unrolled-", dir=disk) as folder:
                # One user at a time, but it may read its rows in a thread of its own.
                path = Path(folder) / "ids.sqlite3"
                self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                for setting in (f"journal_mode={journal}", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                    self._database.execute(f"PRAGMA {setting}")
                self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
                self._database.execute("CREATE TABLE ids (hash BLOB PRIMARY KEY, place INTEGER) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def unique(self, batches: Iterable[RowBatch]) -> Iterator[RowBatch]:
        """Yield the batches, with each row whose id is taken turned into a BadRow.

        Raises:
            TransientError: the disk is full or failed.
        """
        for batch in batches:
            yield self.checked(batch)

    def checked(self, batch: RowBatch) -> RowBatch:
        """One batch of `unique`."""
        given = [row for row in batch if isinstance(row, Row) and row.id != automatic_id(row.file, row.position)]
        if not given:
            return batch
        reasons = {(row.file, row.position): _RESERVED for row in given if self._is_automatic(row.id)}
        given = [row for row in given if (row.file, row.position) not in reasons]
        places = self._steadily("keep ids", lambda: self._first_places(given))
        for row, place in zip(given, places, strict=True):
            if place != self._place(row):
                number, position = divmod(place, 1 << _POSITION_BITS)
                reasons[row.file, row.position] = f"duplicate id; {self._labels[number]} row {position} has it"
        if not reasons:
            return batch
        return [
            BadRow(row.file, row.position, row.id, reasons[row.file, row.position])
            if (row.file, row.position) in reasons
            else row
            for row in batch
        ]

    def _first_places(self, rows: list[Row]) -> list[int]:
        """For each row the place that has its id, taken now where it was free; all of them or none."""
        try:
            return self._taken(rows)
        except sqlite3.Error as error:
            if self._database.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            raise self._unwritable(error) from error

    def _taken(self, rows: list[Row]) -> list[int]:
        hashes = [blake2b(row.id.encode(), digest_size=16).digest() for row in rows]
        places = [self._place(row) for row in rows]
        before = self._database.total_changes
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?)", zip(hashes, places, strict=True))
        self._database.execute("COMMIT")
        if self._database.total_changes - before == len(rows):
            return places
        find = "SELECT place FROM ids WHERE hash = ?"
        return [int(self._database.execute(find, (digest,)).fetchone()[0]) for digest in hashes]

    def _place(self, row: Row) -> int:
        return self._numbers[row.file] << _POSITION_BITS | row.position

    def _is_automatic(self, row_id: str) -> bool:
        """Whether a row without an id of its own could get this one, if there is one."""
        label, mark, position = row_id.rpartition("#")
        is_number = position.isdecimal() and position.isascii() and (position[0] != "0" or position == "0")
        return bool(mark) and is_number and label in self._numbers

    def _unwritable(self, error: Exception) -> TransientError:
        try:
            disk = self._disk or gettempdir()
        except OSError:  # which `error` tells, too
            return TransientError(
                f"ids can't be kept ({error}); set TMPDIR to a directory that can be written to and has room, or raise "
                "the limit of the size of files (`ulimit -f`), then run the same command again"
            )
        remedy = "make room there"
        # SQLite has one error for all that fails while it writes, but for a full disk.
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_WRITE:
            limit = _largest_file()
            remedy = (
                "check the disk" if limit is None else f"check the disk and the limit `ulimit -f` ({limit:,} bytes)"
            )
        return TransientError(f"ids can't be kept in {disk} ({error}); {remedy}, then run the same command again")


def _largest_file() -> int | None:
    """How many bytes a file of this process may have; None for no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit
