"""Rows as a program has them, turned into token ids."""

# Over 150 lines: every kind of rows that a program can have, and what is refused of each.

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from unrolled.errors import RowError
from unrolled.reading.arrays import why_masked
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.token_ids import checked_ids
from worker.encoder.arguments import plain_value, refuse_masked, refuse_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


_ALLOWED = "allowed: a text, a row of token ids, a list or an iterator of these, or an Arrow array of either"
_SEVERAL = "allowed: a list, an iterator or a column of texts, of rows of token ids, or of rows of vectors"


class Rows(NamedTuple):
    """Rows that can be computed.

    Attributes:
        real: the real token ids of each row; padding is left out.
        single: whether a row was given alone, not a list with one row.
    """

    real: Ragged
    single: bool


def read_rows(given: Any, tokenize: Callable[[Sequence[str]], Iterator[list[int] | RowError]], vocab_size: int) -> Rows:
    """Read rows of any of the kinds that `Encoder.encode` takes.

    Args:
        given: the rows.
        tokenize: gives for each text its token ids, or why it has none.
        vocab_size: ids 0..vocab_size are allowed; 0 is padding.

    Raises:
        RowError: a row can't be used; the text has its number, counted from 0.
        TypeError: these are no rows at all.
    """
    if (column := arrow_of(given)) is not None:
        if (ids := _arrow_ids(column, vocab_size)) is not None:
            return Rows(_real(ids), single=False)
        rows, single = column.to_pylist(), False
    else:
        rows, single = _listed(given)
    has_texts = any(isinstance(row, str) for row in rows)
    texts = tokenize([row for row in rows if isinstance(row, str)])
    found = checked_ids([next(texts) if isinstance(row, str) else _ids(row) for row in rows], vocab_size)
    for number, row in enumerate(found):
        if isinstance(row, RowError):
            raise RowError(_why_null(rows, number, has_texts=has_texts) or f"row {number}: {row}")
    arrays = [row for row in found if not isinstance(row, RowError)]
    values = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
    return Rows(_real(Ragged.from_lengths(values, [len(row) for row in arrays])), single)


def each_row(given: Any, is_vector: Callable[[Any], bool]) -> Iterator[Any]:
    """The rows one by one, for the batches of `Encoder.encode_batches`.

    Args:
        given: the rows.
        is_vector: whether something is one vector of a row of vectors.

    Raises:
        TypeError: this is one row, whose characters, ids or vectors aren't rows; or a table, whose names aren't.
    """
    if isinstance(given, np.ndarray) and not given.ndim:
        given = given.item()
    # The names of a table's columns are looked for in its class, because those of a lazy one take a computation.
    is_table = hasattr(given, "__dataframe__") or hasattr(type(given), "columns")
    if isinstance(given, str | bytes | Mapping) or is_table or not isinstance(given, Iterable):
        kind = "one text" if isinstance(given, str) else f"a {type(given).__name__}"
        raise TypeError(f"rows are {kind}; {_SEVERAL}")
    refuse_set(given, "rows")
    return _several(given, is_vector)


def _several(given: Iterable[Any], is_vector: Callable[[Any], bool]) -> Iterator[Any]:
    for row in map(plain, given):
        if isinstance(row, int | np.integer) or is_vector(row):
            raise TypeError(f"rows are one row of token ids or of vectors; {_SEVERAL}")
        yield row


def plain(row: Any) -> Any:
    """A row of an Arrow array as Python's own type; any other as it is."""
    return row.as_py() if isinstance(row, pa.Scalar) else row


def _real(rows: Ragged) -> Ragged:
    """The rows without padding."""
    is_real = rows.values != 0
    if is_real.all():
        return rows
    return rows.where(is_real)


def arrow_of(given: Any) -> pa.Array | None:
    """The rows as one Arrow array, if they are in Arrow's memory (of pyarrow, Polars, DuckDB, pandas)."""
    if isinstance(given, pa.Array | pa.ChunkedArray):
        column = given
    elif hasattr(given, "__arrow_c_stream__"):
        try:
            column = pa.chunked_array(given)
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
        ):  # Python's objects in a column of pandas, of which Arrow has no type
            return None
    elif hasattr(given, "__arrow_c_array__"):
        column = pa.array(given)
    else:
        return None
    if isinstance(column, pa.ChunkedArray):
        column = _joined(column)
    if pa.types.is_dictionary(column.type):
        if pa.types.is_string_view(column.type.value_type):  # Polars's, which pyarrow can't decode
            column = column.cast(pa.dictionary(column.type.index_type, pa.large_string()))
        column = column.dictionary_decode()
    if pa.types.is_struct(column.type):
        names = ", ".join(column.type.field(number).name for number in range(column.type.num_fields))
        raise TypeError(f"this is a table with the columns {names}; give one of its columns")
    return column


def _joined(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column's chunks; those of texts and lists count to 2^31 on their own, and together may not."""
    try:
        return column.combine_chunks()
    except pa.ArrowInvalid:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            return column.cast(pa.large_string() if pa.types.is_string(kind) else pa.large_binary()).combine_chunks()
        if pa.types.is_list(kind):
            return column.cast(pa.large_list(kind.value_type)).combine_chunks()
        raise


def _arrow_ids(column: pa.Array, vocab_size: int) -> Ragged | None:
    """Rows of valid token ids without a Python object for each; None for all others, which are read one by one."""
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if not is_list or not pa.types.is_integer(column.type.value_type) or column.null_count:
        return None
    ids = column.flatten()
    if ids.null_count:
        return None
    values: NDArray[np.integer[Any]] = ids.to_numpy()
    if values.size and not (int(values.min()) >= 0 and int(values.max()) <= vocab_size):
        return None
    return Ragged.from_lengths(values.astype(np.int32), column.value_lengths().to_numpy())


def _listed(given: Any) -> tuple[list[Any], bool]:
    """The rows as a list, and whether a row was given alone."""
    if isinstance(given, str):
        return [given], True
    if hasattr(given, "__array__"):
        refuse_masked(given, "rows")
        array = np.asarray(given)
        if not array.ndim:  # one text, whose characters aren't rows
            return _listed(array.item())
        if array.ndim == 1 and array.dtype.kind in "iu":
            return [array], True
        given = list(array) if array.ndim == 2 and array.dtype.kind in "iu" else array.tolist()  # noqa: PLR2004 - axes
    refuse_set(given, "rows")
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"rows are {type(given).__name__}; {_ALLOWED}")
    rows = [*map(plain, given)]
    is_row = bool(rows) and all(isinstance(row, int | np.integer) and not isinstance(row, bool) for row in rows)
    return ([[int(number) for number in rows]], True) if is_row else (rows, False)


def _is_null(row: Any) -> bool:
    """Whether a table had nothing there: None, NaN, or a null of pandas, which may not be installed."""
    is_nan = isinstance(row, float | np.floating) and math.isnan(row)
    return row is None or is_nan or type(row).__name__ in ("NAType", "NaTType")


def _why_null(rows: Sequence[Any], number: int, *, has_texts: bool) -> str:
    """What a row that a table has nothing for lacks, in the words for the rows around it; "" if it is another row."""
    if not _is_null(rows[number]):
        return ""
    if has_texts:
        return f"row {number} has no text (null or NaN); give '' for a row without text"
    # A batch, or a column, of nulls alone doesn't show whether the other rows are texts.
    if all(map(_is_null, rows)):
        return f"row {number} is null or NaN; give '' for a row without text, or [] for one without token ids"
    return ""


def _ids(row: Any) -> Any:
    """One row as a list or an array, if it is some other sequence of numbers; why not, if it can't be used."""
    if isinstance(row, tuple | list):
        of_numpy = any(issubclass(kind, np.integer) for kind in set(map(type, row)))
        return [*map(plain_value, row)] if of_numpy else list(row) if isinstance(row, tuple) else row
    if why := why_masked(row):
        return RowError(f"it is a masked array: {why}, such as 0, which is padding")
    if not hasattr(row, "__array__"):
        return row
    array = np.asarray(row)
    return array.tolist() if array.ndim > 1 else array  # the lists in it are no token ids
