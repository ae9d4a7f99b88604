"""Values from Arrow columns: the types that can be used, and each row's id, text or token ids."""

# Over 150 lines: all that depends on the types of columns, of which Arrow has many.

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from producer.sources.errors import DamagedInputError
from producer.sources.formats.fields import decoded, found_id
from producer.sources.formats.input_columns import InputColumns
from producer.sources.options import SourceOptions
from unrolled.errors import RowError
from unrolled.tokenization.number_lists import has_no_value, is_list, is_numbers, is_vectors, number_lists

# An id, and either text, tokens (one of the two None) and initial states, or the reason why the row is bad.
Found = tuple[str | None, tuple[str | None, object, object] | str]


def _value_type(type_: Any) -> Any:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _is_text(type_: Any) -> bool:
    of = pa.types
    checks = (of.is_string, of.is_large_string, of.is_string_view, of.is_binary, of.is_large_binary)
    return any(check(type_) for check in checks)


def check_types(schema: Any, columns: InputColumns, options: SourceOptions) -> None:
    """Check the types of the columns. One in which no value occurs, and whose type is null, is as good as any.

    Raises:
        DamagedInputError: texts are not text, ids are neither text nor integers, tokens are not lists of integers,
            vectors not lists of lists of numbers, or initial states not lists of numbers.
    """
    content = schema.field(columns.content)
    type_ = _value_type(content.type)
    if columns.is_text:
        fits, allowed = _is_text(type_) or pa.types.is_null(type_), "text"
    elif options.kind == "vectors":
        fits, allowed = is_vectors(content.type), "a list of lists of numbers, one for each step"
    else:
        fits, allowed = is_list(content.type) and pa.types.is_integer(content.type.value_type), "a list of integers"
    if not fits and (columns.is_text or not has_no_value(content.type)):
        raise DamagedInputError(f"column {content.name!r} is of type {content.type}; allowed: {allowed}")
    state = None if columns.state is None else schema.field(columns.state)
    if state is not None and not (is_numbers(state.type) or has_no_value(state.type)):
        raise DamagedInputError(
            f"column {state.name!r} is of type {state.type}; allowed for initial states: a list of numbers. Name "
            "another (--initial-state-field)"
        )
    if columns.id is not None:
        ids = schema.field(columns.id)
        type_ = _value_type(ids.type)
        if not (_is_text(type_) or pa.types.is_integer(type_) or pa.types.is_null(type_)):
            raise DamagedInputError(
                f"column {ids.name!r} is of type {ids.type}; allowed for ids: text or integers. "
                "Name another (--id-field)"
            )


def validated(column: Any) -> Any:
    """Check that all offsets and indices, which can be anything in a hostile file, are within the column.

    Raises:
        pyarrow.ArrowInvalid: one is not.
    """
    column.validate()
    # As bytes, because invalid UTF-8 makes one row bad, not the whole file.
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    column.validate(full=True)
    return column


def is_decoded(column: Any) -> bool:
    """Whether each row has a value of its own, rather than a share of one in a dictionary or in a buffer."""
    return not (pa.types.is_dictionary(column.type) or pa.types.is_string_view(column.type))


def decoded_sizes(column: Any) -> NDArray[np.int64]:
    """The bytes of each row's value, once it is decoded: many rows may share one in a dictionary, or in a buffer.

    Returns:
        int64 (rows,): of texts the bytes of each, 0 for null; of numbers and lists what they take on average.
    """
    if not _is_text(_value_type(column.type)):
        shared = column.indices if pa.types.is_dictionary(column.type) else column
        return np.full(len(column), shared.nbytes // max(len(column), 1), np.int64)
    if pa.types.is_dictionary(column.type):
        sizes = pa.array(decoded_sizes(column.dictionary)).take(column.indices)
    elif pa.types.is_string_view(column.type):
        # Of the sixteen bytes of a view, the first four are the length; pyarrow has no function for it.
        lengths = np.frombuffer(column.buffers()[1] or b"", np.int32, 4 * len(column), 16 * column.offset)[::4]
        sizes = pa.array(lengths, mask=column.is_null().to_numpy(zero_copy_only=False))
    else:
        sizes = pc.binary_length(column)
    found: NDArray[np.int64] = pc.fill_null(sizes, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def row_values(content: Any, ids: Any, states: Any, is_text: bool, options: SourceOptions) -> Iterator[Found]:
    """Yield each row's id with its text and tokens, or with the reason why it is bad.

    Args:
        content: array of texts, of lists of integers, or of lists of lists of numbers.
        ids: array of ids, one for each row; None if rows have none.
        states: array of lists of numbers, one for each row; None if none are read.
        is_text: whether `content` contains texts.
        options: the names of the fields, and `max_row_bytes`.
    """
    contents = _texts(content) if is_text else number_lists(content)
    all_ids = [None] * len(contents) if ids is None else _plain(ids)
    begun = [None] * len(contents) if states is None else number_lists(states)
    id: str | None = None  # noqa: A001 - the field's name
    for value, given, state in zip(contents, all_ids, begun, strict=True):
        try:
            id = None  # noqa: A001 - the field's name
            id = found_id(_text_of_id(given) if isinstance(given, bytes) else given, options)  # noqa: A001 - as above
            yield id, (*_content(value, is_text, options), state)
        except RowError as error:
            yield id, str(error)


def _text_of_id(given: bytes) -> str:
    try:
        return decoded(given)
    except RowError as error:
        why = str(error).removesuffix(" of the row")
        raise RowError(f"its id is {why}; make texts of ids that are bytes, or leave the column out") from error


def _content(value: Any, is_text: bool, options: SourceOptions) -> tuple[str | None, object]:
    if value is None:
        raise RowError(f"{(options.text_field if is_text else options.numbers_field)!r} is null")
    size = value.nbytes if isinstance(value, np.ndarray) else len(value)
    if size > options.max_row_bytes:
        raise RowError(f"row of {size} bytes; allowed: {options.max_row_bytes} (--max-row-bytes)")
    return (decoded(value), None) if is_text else (None, value)


def _plain(column: Any) -> list[Any]:
    """Values of a column of text or integers; text as bytes, because it may be invalid UTF-8."""
    return _texts(column) if _is_text(_value_type(column.type)) else _decoded_dictionary(column).to_pylist()


def _texts(column: Any) -> list[bytes | None]:
    found: list[bytes | None] = _decoded_dictionary(column).cast(pa.large_binary()).to_pylist()
    return found


def _decoded_dictionary(column: Any) -> Any:
    if not pa.types.is_dictionary(column.type):
        return column
    if pa.types.is_string_view(column.type.value_type):  # Polars's categories, which pyarrow can't decode
        column = column.cast(pa.dictionary(column.type.index_type, pa.large_string()))
    return column.dictionary_decode()
