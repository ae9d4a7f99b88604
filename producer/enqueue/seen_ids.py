"""Duplicate ids, found exactly in flat memory."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from producer.rows import BadRow, Row, RowBatch, automatic_id
from unrolled.errors import TransientError

# A place is one integer of 63 bits: the number of the file (below 2^27), and that of the row in it (below 2^36).
_POSITION_BITS = 36
_CACHE_KIB = 16 * 1024


class IdentityLedger:
    """Remembers where every user-given id came first, on disk.

    Ids are kept as 128-bit BLAKE2b hashes: among 10**9 ids, the chance that any two collide is about 10**-21.
    The file lives as long as the ledger; a new run reads its input again and so fills a new one. A row that
    comes again from the same file and position is no duplicate of itself.
    """

    def __init__(self, files: Iterable[str], directory: Path | None = None) -> None:
        """Begin an empty ledger.

        Args:
            files: labels of all inputs; automatic ids are made of them.
            directory: where its file is kept, about 50 bytes an id; the system's temporary directory by
                default.

        Raises:
            TransientError: the directory can't be written to.
        """
        self._labels = list(files)
        self._numbers = {label: number for number, label in enumerate(self._labels)}
        self._directory = directory
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="unrolled-ids-", dir=directory)
            place = Path(self._folder.name) / "ids.sqlite3"
            # One user at a time, but it may read its rows in a thread of its own.
            self._database = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
            for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
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
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()

    def unique(self, batches: Iterable[RowBatch]) -> Iterator[RowBatch]:
        """Yield the batches with each later row of an id already taken turned into a BadRow.

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
        try:
            places = self._first_places(given)
        except sqlite3.Error as error:
            raise self._unwritable(error) from error
        for row, place in zip(given, places, strict=True):
            if place != self._place(row):
                number, position = divmod(place, 1 << _POSITION_BITS)
                reasons[row.file, row.position] = f"duplicate id; it is that of {self._labels[number]} row {position}"
        if not reasons:
            return batch
        return [
            BadRow(row.file, row.position, row.id, reasons[row.file, row.position])
            if (row.file, row.position) in reasons
            else row
            for row in batch
        ]

    def _first_places(self, rows: list[Row]) -> list[int]:
        """For each row the place that has its id, taken now where it was free."""
        hashes = [blake2b(row.id.encode(), digest_size=16).digest() for row in rows]
        places = [self._place(row) for row in rows]
        before = self._database.total_changes
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?)", zip(hashes, places, strict=True))
        self._database.execute("COMMIT")
        if self._database.total_changes - before == len(rows):
            return places
        find = "SELECT place FROM ids WHERE hash = ?"
        return [int(self._database.execute(find, (hash,)).fetchone()[0]) for hash in hashes]  # noqa: A001

    def _place(self, row: Row) -> int:
        return self._numbers[row.file] << _POSITION_BITS | row.position

    def _is_automatic(self, id: str) -> bool:  # noqa: A002  (the field's own name)
        """Whether some row without an id of its own may be called this."""
        label, mark, position = id.rpartition("#")
        return bool(mark) and position.isdecimal() and position.isascii() and label in self._numbers

    def _unwritable(self, error: Exception) -> TransientError:
        where = self._directory or tempfile.gettempdir()
        return TransientError(f"ids can't be kept in {where} ({error}); make room there, or choose another directory")


_RESERVED = "its id is the automatic id of another row; give it an id without the ending #<number>"
