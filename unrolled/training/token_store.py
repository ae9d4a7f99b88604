"""Rows of token ids on disk, read through memory maps: as many as the disk holds, in memory that doesn't grow.

    NAME.tokens   the ids of all rows, end to end: little-endian uint16 where vocab_size fits, else int32
    NAME.ends     little-endian int64 (rows,): where each row ends in NAME.tokens

It is a training's scratch, made and read by one machine: `FitPlan` says how many ids and rows there must be.
"""

import mmap
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import JobError, TransientError
from unrolled.ragged import runs

_SMALL_VOCABULARY = 2**16 - 1


def id_type(vocab_size: int) -> np.dtype[np.uint16] | np.dtype[np.int32]:
    """What an id is stored as."""
    return np.dtype("<u2") if vocab_size <= _SMALL_VOCABULARY else np.dtype("<i4")


class TokenStoreWriter:
    """Adds rows to a store; it is complete when the block ends without an error.

    Args:
        directory: where the two files go; what is there under their names is replaced.
        name: of the store.
        vocab_size: the largest id.

    Attributes:
        rows: added so far.
        tokens: ids in them.
    """

    def __init__(self, directory: Path, name: str, vocab_size: int) -> None:
        self.rows = 0
        self.tokens = 0
        self._type = id_type(vocab_size)
        self._directory = directory
        try:
            self._ids = (directory / f"{name}.tokens").open("wb")
            self._ends = (directory / f"{name}.ends").open("wb")
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files.

        Raises:
            TransientError: what was still buffered can't be written.
        """
        try:
            self._ids.close()
            self._ends.close()
        except OSError as failure:
            raise self._unwritable(failure) from failure

    def add(self, rows: list[NDArray[np.int32]]) -> None:
        """Add rows, each int32 (tokens,) of ids in 1..vocab_size.

        Raises:
            TransientError: the disk is full or failed.
        """
        if not rows:
            return
        ends = self.tokens + np.cumsum([len(row) for row in rows], dtype="<i8")
        try:
            self._ids.write(np.concatenate(rows).astype(self._type).tobytes())
            self._ends.write(ends.tobytes())
        except OSError as error:
            raise self._unwritable(error) from error
        self.rows += len(rows)
        self.tokens = int(ends[-1])

    def _unwritable(self, error: OSError) -> TransientError:
        return TransientError(
            f"{self._directory}: the corpus's token ids can't be kept there ({error.strerror or error}); make room "
            "(2 bytes a token up to a vocabulary of 65,535, else 4) or choose another --out"
        )


class TokenStore(NamedTuple):
    """A store's rows.

    Attributes:
        ids: unsigned or signed integers (tokens,), on disk.
        ends: int64 (rows,), on disk.
        maps: what both are read through.
    """

    ids: NDArray[np.uint16] | NDArray[np.int32]
    ends: NDArray[np.int64]
    maps: tuple[mmap.mmap, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.ends)

    def bounds(self, start: int, stop: int) -> NDArray[np.int64]:
        """int64 (stop - start + 1,): where rows start..stop begin, and where the last of them ends."""
        first = int(self.ends[start - 1]) if start else 0
        return np.concatenate([np.array([first], np.int64), np.asarray(self.ends[start:stop], np.int64)])

    def read(self, start: int, stop: int) -> tuple[NDArray[np.uint16] | NDArray[np.int32], NDArray[np.int64]]:
        """Rows start..stop in memory: their ids, end to end, and their `bounds` among these."""
        bounds = self.bounds(start, stop)
        ids = self.ids[bounds[0] : bounds[-1]].copy()
        # The pages stay in the system's cache; a process that kept them would grow with the corpus.
        for mapped in self.maps:
            mapped.madvise(mmap.MADV_DONTNEED)
        return ids, bounds - bounds[0]

    def blocks(self, block_tokens: int) -> list[tuple[int, int]]:
        """(start, stop) of runs of rows with at most `block_tokens` ids; a longer row is a run of its own."""
        # Finding them touches few pages of the map, whatever its size.
        return runs(self.ends, block_tokens)


def open_token_store(directory: Path, name: str, vocab_size: int, rows: int, tokens: int) -> TokenStore:
    """Map a store into memory.

    Raises:
        JobError: the files are missing, or not as long as they must be.
    """
    kinds = ((f"{name}.tokens", id_type(vocab_size), tokens), (f"{name}.ends", np.dtype("<i8"), rows))
    arrays: list[NDArray[Any]] = []
    maps: list[mmap.mmap] = []
    for file, kind, count in kinds:
        path = directory / file
        try:
            size = path.stat().st_size
            if size != count * kind.itemsize:
                raise JobError(f"{path}: has {size:,} bytes, not {count * kind.itemsize:,}; remove {directory} and fit")
            if count:
                with path.open("rb") as opened:
                    maps.append(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
            arrays.append(np.frombuffer(maps[-1], kind) if count else np.empty(0, kind))
        except OSError as error:
            raise JobError(f"{path}: can't be read ({error.strerror or error}); remove {directory} and fit") from error
    return TokenStore(arrays[0], arrays[1], tuple(maps))
