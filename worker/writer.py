"""A computed shard becomes the bytes of a Parquet file.

Nothing is copied on the way: the Arrow arrays are views of the engine's buffers. The settings are what
benchmarks/encoding.py found fastest.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unrolled.errors import PayloadError
from unrolled.ragged import Ragged
from unrolled.schema import Columns, FileInfo, arrow_schema

# A reader holds one row group at a time; a row that weighs more has one to itself.
ROW_GROUP_BYTES = 16 << 20
# What a row costs a reader besides its vectors and its mask.
_ROW_BYTES = 64
_LARGEST_OFFSET = 2**31 - 1
# A state's mantissa is noise: compressing it costs more time than it saves. The rest is small.
SETTINGS: dict[str, Any] = {
    "compression": {
        "outputs.list.element.list.element": "none",
        "id": "zstd",
        "length": "zstd",
        "mask.list.element": "zstd",
        "tokens.list.element": "zstd",
    },
    "use_dictionary": False,
    "write_statistics": ["id", "length"],
    # Version 2 pages hold whole rows, and no page may reach 2 GiB: long rows need version 1.
    "data_page_version": "1.0",
    "write_page_checksum": True,
}


def encode(
    file: BinaryIO,
    info: FileInfo,
    ids: Sequence[str],
    tokens: Ragged,
    outputs: NDArray[np.float32],
    *,
    with_tokens: bool = False,
) -> None:
    """Write a shard's file. The same arguments give the same bytes.

    Args:
        file: where to; binary, open for writing.
        info: the file's metadata; its counts must be those of the rows.
        ids: one for each row.
        tokens: the rows as they came in, zeros included.
        outputs: float32 (real tokens, units), C-contiguous: a vector for each token that is not 0, in order.
        with_tokens: whether to store the token ids too.

    Raises:
        PayloadError: the arguments contradict each other, or an id holds a lone surrogate.
        OSError: the file can't be written.
    """
    mask = tokens.values != 0
    # int64 (rows + 1,): the real tokens before each row.
    ends = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))[tokens.offsets]
    _check(info, ids, tokens, outputs, int(ends[-1]))
    schema = arrow_schema(Columns(units=outputs.shape[1], with_tokens=with_tokens))
    with pq.ParquetWriter(file, schema, **SETTINGS) as writer:
        writer.add_key_value_metadata(info.encode())
        for start, stop in pairwise(_row_groups(tokens.offsets, ends, outputs.shape[1])):
            padded, real = tokens.offsets[start : stop + 1], ends[start : stop + 1]
            columns = [
                _strings(ids[start:stop]),
                pa.array(np.diff(real).astype(np.int32)),
                _lists(schema.field("mask").type, pa.array(mask[padded[0] : padded[-1]]), padded),
                _lists(schema.field("outputs").type, _vectors(schema, outputs[real[0] : real[-1]]), real),
            ]
            if with_tokens:
                values = pa.array(tokens.values[padded[0] : padded[-1]])
                columns.append(_lists(schema.field("tokens").type, values, padded))
            group = pa.RecordBatch.from_arrays(columns, schema=schema)
            writer.write_batch(group, row_group_size=stop - start)


def _check(
    info: FileInfo, ids: Sequence[str], tokens: Ragged, outputs: NDArray[np.float32], real_tokens: int
) -> None:
    if not len(ids) == tokens.rows == info.rows:
        raise PayloadError(f"{len(ids)} ids for {tokens.rows} rows, the metadata counts {info.rows}")
    if not len(outputs) == real_tokens == info.tokens:
        raise PayloadError(
            f"{len(outputs)} vectors for {real_tokens} real tokens; the metadata counts {info.tokens}"
        )
    if outputs.dtype != np.float32 or not outputs.flags.c_contiguous:
        raise PayloadError(
            f"outputs are {outputs.dtype} with strides {outputs.strides}, not contiguous float32"
        )
    if tokens.lengths.max(initial=0) > _LARGEST_OFFSET:
        raise PayloadError(
            f"a row of {tokens.lengths.max()} tokens; a file's row holds at most {_LARGEST_OFFSET}"
        )


def _row_groups(padded: NDArray[np.int64], real: NDArray[np.int64], units: int) -> list[int]:
    """Row numbers at which the row groups begin, and the end, given the tokens before each row."""
    rows = len(padded) - 1
    # Each token costs a byte of mask when read and four if it is stored; each real one its vector.
    before = np.arange(rows + 1) * _ROW_BYTES + padded * 5 + real * (units * 4)
    cuts = [0]
    while (start := cuts[-1]) < rows:
        stop = int(np.searchsorted(before, before[start] + ROW_GROUP_BYTES, side="right")) - 1
        cuts.append(max(stop, start + 1))
    return cuts


def _strings(ids: Sequence[str]) -> pa.Array:
    try:
        return pa.array(ids, pa.string())
    except UnicodeEncodeError as error:
        raise PayloadError(f"id {error.object[:80]!r} is no Unicode text: {error.reason}") from error


def _vectors(schema: pa.Schema, outputs: NDArray[np.float32]) -> pa.Array:
    kind = schema.field("outputs").type.value_type
    return pa.FixedSizeListArray.from_arrays(pa.array(outputs.reshape(-1)), type=kind)


def _lists(kind: pa.DataType, values: pa.Array, ends: NDArray[np.int64]) -> pa.Array:
    offsets = pa.array((ends - ends[0]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, values, type=kind)
