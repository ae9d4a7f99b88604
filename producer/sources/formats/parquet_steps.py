"""How many rows of a Parquet file are decoded at once, so that its size doesn't matter.

Equal values may be in a row group once, in a dictionary, and equal numbers in a row are counted rather than written: a
few hundred bytes may be gigabytes of rows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from producer.sources.formats.arrow_values import decoded_sizes

#: About this much content, decoded, is in a batch: the larger rows are, the fewer of them.
BATCH_BYTES = 8 * 1024 * 1024
# And this much at most, if all rows of a batch have the longest text of a dictionary.
_MOST_BYTES = 2 * BATCH_BYTES
# Bytes of a number, decoded.
_WIDTHS = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}
# Rows in which a dictionary is looked for; it isn't there before the first value that isn't null.
_LOOKED_AT = 1024


class Step(NamedTuple):
    """Row groups that are read together.

    Attributes:
        rows: how many are decoded at once, at least 1.
        groups: the row groups' numbers, consecutive ones.
    """

    rows: int
    groups: list[int]


def steps(
    file: pq.ParquetFile,
    numbers: Sequence[int],
    names: Sequence[str],
    batch_rows: int,
    opened: Callable[..., pq.ParquetFile],
) -> Iterator[Step]:
    """Yield the row groups in order: small ones together; of others, each alone, the dictionaries are looked at before.

    Args:
        file: the file.
        numbers: of row groups, in order.
        names: the columns that are read.
        batch_rows: the most rows at once.
        opened: opens the file once more, given further arguments of `ParquetFile`.

    Raises:
        OSError, pyarrow.ArrowException: the file is damaged.
    """
    leaves = [at for at in range(len(file.schema)) if _is_in(file.schema.column(at).path, names)]
    small: list[int] = []
    for number in numbers:
        group = file.metadata.row_group(number)
        chunks = [group.column(at) for at in leaves]
        rows = rows_of(sum(map(_decoded_bytes, chunks)), group.num_rows, batch_rows)
        shared = [chunk for chunk in chunks if chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page]
        longest = sum(chunk.total_uncompressed_size for chunk in shared)  # no text is longer than its dictionary
        if rows == batch_rows and longest * rows <= _MOST_BYTES:
            small.append(number)
            continue
        if small:
            yield Step(batch_rows, small)
            small = []
        if longest * min(rows, group.num_rows) > _MOST_BYTES:
            longest = _longest(opened, file.metadata, number, [chunk.path_in_schema for chunk in shared])
            rows = max(1, min(rows, _MOST_BYTES // max(longest, 1)))
        yield Step(rows, [number])
    if small:
        yield Step(batch_rows, small)


def rows_of(size_bytes: int, rows: int, batch_rows: int) -> int:
    """How many of some rows of a size, at least 1, have about BATCH_BYTES together."""
    return max(1, min(batch_rows, BATCH_BYTES * max(rows, 1) // max(size_bytes, 1)))


def _is_in(path: str, names: Sequence[str]) -> bool:
    """Whether numbers or texts at this path are in one of the columns."""
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _decoded_bytes(chunk: Any) -> int:
    """Of the numbers of a row group's column; of texts what is known without a look at them."""
    return max(int(chunk.total_uncompressed_size), int(chunk.num_values) * _WIDTHS.get(chunk.physical_type, 0))


def _longest(opened: Callable[..., pq.ParquetFile], metadata: Any, group: int, names: Sequence[str]) -> int:
    """The bytes of the longest texts in the dictionaries of some columns of a row group, summed over the columns."""
    longest = dict.fromkeys(names, 0)
    with opened(metadata=metadata, read_dictionary=names) as file:
        for batch in file.iter_batches(_LOOKED_AT, row_groups=[group], columns=list(names)):
            found = {name: batch.column(name).dictionary for name in names}
            longest = {name: int(decoded_sizes(each).max(initial=0)) for name, each in found.items()}
            if all(map(len, found.values())):
                break
    return sum(longest.values())
