"""Rows of token ids on disk, read a block at a time: memory doesn't grow with the number of rows.

NAME.arrow   Arrow IPC file with one column, "tokens": large_list<uint16>, or large_list<int32> if vocab_size is
             above 65,535. Each record batch is a block of about BLOCK_TOKENS ids.
"""

# Over 150 lines: a writer and a reader of one format.

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unrolled.errors import JobError, TransientError

#: Token ids in a block. A training reads blocks in random order, so that rows that are far from each other meet.
BLOCK_TOKENS = 2**17
_SMALL_VOCABULARY = 2**16 - 1

Ids = NDArray[np.uint16] | NDArray[np.int32]


def _schema(vocab_size: int) -> Any:
    return pa.schema([("tokens", pa.large_list(pa.uint16() if vocab_size <= _SMALL_VOCABULARY else pa.int32()))])


class TokenStoreWriter:
    """Writes a store; it is complete when the `with` block ends without an error.

    Args:
        directory: the directory of the file; an existing file is replaced.
        name: name of the store.
        vocab_size: the largest id.
        block_tokens: ids in a block, at least.

    Attributes:
        rows: number of rows added so far.
        tokens: number of ids in them.

    Raises:
        TransientError: the file can't be written; `add` and the end of the block raise it too.
    """

    def __init__(self, directory: Path, name: str, vocab_size: int, block_tokens: int = BLOCK_TOKENS) -> None:
        self.rows = self.tokens = 0
        self._directory, self._schema, self._block_tokens = directory, _schema(vocab_size), block_tokens
        self._path = directory / f"{name}.arrow"
        self._block: list[NDArray[np.int32]] = []
        self._written = 0  # tokens
        try:
            self._file = pa.OSFile(str(self._path), "wb")
            self._batches = pa.ipc.new_file(self._file, self._schema)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with self._file:
                if error is None:
                    self._write_block()
                    self._batches.close()
            if error is None:
                with self._path.open("rb+") as file:
                    os.fsync(file.fileno())  # before the plan that says that it is there
        except OSError as failure:
            raise self._unwritable(failure) from failure

    def add(self, rows: Iterable[NDArray[np.int32]]) -> None:
        """Add rows, each int32 (tokens,) of ids in 1..vocab_size."""
        try:
            for row in rows:
                self._block.append(row)
                self.rows += 1
                self.tokens += len(row)
                if self.tokens >= self._written + self._block_tokens:
                    self._write_block()
        except OSError as error:
            raise self._unwritable(error) from error

    def _write_block(self) -> None:
        if self._block:
            self._batches.write_batch(pa.record_batch([self._rows()], schema=self._schema))
            self._block, self._written = [], self.tokens

    def _rows(self) -> Any:
        """The block as an array, from buffers because `pa.array` imports pandas if it is installed: half a second."""
        rows = self._schema.field(0).type
        ids = np.concatenate(self._block).astype(rows.value_type.to_pandas_dtype())
        values = pa.Array.from_buffers(rows.value_type, len(ids), [None, pa.py_buffer(ids)])
        ends = np.cumsum([0, *map(len, self._block)], dtype=np.int64)
        return pa.Array.from_buffers(rows, len(self._block), [None, pa.py_buffer(ends)], children=[values])

    def _unwritable(self, error: OSError) -> TransientError:
        return TransientError(
            f"{self._directory}: the corpus's token ids can't be written there ({error.strerror or error}); make room "
            "(2 bytes for each token with a vocabulary of at most 65,535, else 4) or choose another --out"
        )


class TokenStore:
    """Reads a store.

    Args:
        directory: the directory of the file.
        name: name of the store.
        vocab_size: the largest id.

    Attributes:
        blocks: number of blocks.

    Raises:
        JobError: the file is missing, damaged or empty, or not a store of this vocab_size.
    """

    def __init__(self, directory: Path, name: str, vocab_size: int) -> None:
        self._path, self._vocab_size = directory / f"{name}.arrow", vocab_size
        try:
            # Not a memory map: the pages that it has read would stay in the process's memory.
            self._file = pa.ipc.open_file(pa.OSFile(str(self._path)))
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(str(error)) from error
        if self._file.schema != _schema(vocab_size):
            raise self._unreadable(f"its columns are {self._file.schema.to_string()!r:.80}")
        self.blocks: int = self._file.num_record_batches
        if not self.blocks:
            raise self._unreadable("it has no rows")

    def read(self, blocks: Iterable[int]) -> tuple[Ids, NDArray[np.int64]]:
        """Read blocks into memory.

        Returns:
            Their ids, end to end, and int64 (rows + 1,): where each row begins among them, and where the last one ends.

        Raises:
            JobError: the file is damaged.
        """
        try:
            columns = [self._file.get_batch(block).column(0) for block in blocks]
            for column in columns:
                column.validate(full=True)  # the offsets of a damaged file point anywhere
            ids: Ids = np.concatenate([column.flatten().to_numpy() for column in columns])
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(str(error)) from error
        ends = np.cumsum(np.concatenate([[0], *(np.diff(column.offsets) for column in columns)]), dtype=np.int64)
        if ends[-1] != len(ids) or not 1 <= ids.min(initial=1) <= ids.max(initial=1) <= self._vocab_size:
            raise self._unreadable(f"it has null rows, or ids that are not in 1..{self._vocab_size}")
        return ids, ends

    def _unreadable(self, reason: str) -> JobError:
        return JobError(f"{self._path}: can't be read ({reason[:200]}); remove {self._path.parent} and fit again")
