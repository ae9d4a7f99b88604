"""The texts that a map shows beside its points: from token ids and a tokenizer, or from a table of the user's."""

# Over 150 lines: texts of three kinds, and one table of the user's.

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unrolled.errors import OptionError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

#: Characters of a text, and of an id, that are kept.
LONGEST_TEXT, LONGEST_ID = 240, 160
#: Tokens of a row that are kept for its text; of a token's surroundings, those before and those after it.
TOKENS_SHOWN, BEFORE, AFTER = 48, 8, 4
#: The column of texts that is read if none is named.
DEFAULT_TEXT = "text"
# Controls can't be shown; those that turn the direction of what follows could hide a part of a text.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text as a page can show it: on one line, without characters that turn its direction, and not too long."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return _UNSHOWN.sub(lambda found: " " if found[0] in "\t\n\r" else f"\\u{ord(found[0]):04x}", cut)


class Words:
    """Token ids as words.

    Args:
        tokenizer: the tokenizer of the job's model; None to show ids as numbers.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        self._names = {number: name for name, number in tokenizer.get_vocab().items()} if tokenizer else {}

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids; zeros are padding, and left out."""
        real = [number for number in ids if number]
        if self._tokenizer is None:
            return " ".join(map(str, real))
        return str(self._tokenizer.decode(real, skip_special_tokens=False))

    def word(self, number: int) -> str:
        """One token as people read it."""
        if self._tokenizer is None:
            return str(number)
        name = self._tokenizer.decode([number], skip_special_tokens=False)
        return name.strip() or self._names.get(number, str(number))


def window(ids: Sequence[int], position: int) -> list[int]:
    """A token of a row and those around it.

    Args:
        ids: the row's tokens as it came in.
        position: the token's place among the real ones.
    """
    real = [number for number in ids if number]
    return real[max(0, position - BEFORE) : position + 1 + AFTER]


def around(words: Words, near: Sequence[int], position: int) -> str:
    """A token among its neighbours in the row: itself is in brackets.

    Args:
        words: shows them.
        near: what `window` gave.
        position: the token's place in the row.
    """
    at = min(position, BEFORE)
    return f"{words.text(near[:at])} [{words.word(near[at])}] {words.text(near[at + 1 :])}".strip()


class Looked(NamedTuple):
    """Columns of a table, for the points of a map.

    Attributes:
        columns: by name: for each point the value as text, None where the table has no such row.
        found: points whose id the table has.
        of: number of points.
        first_id: an id of the table, for people; empty if it has no row.
    """

    columns: dict[str, NDArray[np.object_]]
    found: int
    of: int
    first_id: str


def check_table(path: Path, id_field: str, text_field: str | None, label_field: str | None) -> list[str]:
    """Refuse a table without the columns that are named; gives the columns of texts and labels that it has.

    Args:
        path: a Parquet, CSV, TSV or JSON lines file.
        id_field: name of the column with the ids.
        text_field: name of the column with texts; None for "text", if there is one or a column with labels is named.
        label_field: name of the column with labels; None for none.

    Raises:
        OptionError: the table lacks a column.
        RequestError: the table can't be read.
    """
    with _errors(path):
        names = _dataset(path).schema.names
    has = f"it has {', '.join(names)[:300]}"
    wanted = [(id_field, "ids", "id"), (text_field, "texts", "text"), (label_field, "labels", "label")]
    for field, what, option in wanted:
        if field is not None and field not in names:
            raise OptionError(
                f"{path}: has no column {field!r:.80}; {has}: name the column of {what} with --{option}-field"
            )
    if text_field is None and label_field is None and DEFAULT_TEXT not in names:
        raise OptionError(
            f"{path}: has no column {DEFAULT_TEXT!r}; {has}: name the column of texts with --text-field, or one of "
            "labels with --label-field"
        )
    fields = dict.fromkeys((text_field or DEFAULT_TEXT, label_field or ""))
    return [field for field in fields if field in names]


def read_table(path: Path, ids: NDArray[np.object_], id_field: str, fields: Sequence[str]) -> Looked:
    """Some columns of a table, for some rows; of rows with the same id, the first counts.

    Args:
        path: a Parquet, CSV, TSV or JSON lines file, which is read a batch at a time.
        ids: the ids of the wanted rows.
        id_field: name of the column with the ids.
        fields: names of the wanted columns, which `check_table` has found.

    Raises:
        RequestError: the table can't be read.
    """
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table
    import pyarrow.compute as pc  # noqa: PLC0415 - most reports have no table

    wanted = pa.array(dict.fromkeys(ids.tolist()), pa.string())
    found: dict[str, dict[str, str | None]] = {field: {} for field in fields}
    known: set[str] = set()
    first_id = ""
    with _errors(path):
        for batch in _dataset(path).to_batches(batch_size=8192, batch_readahead=1):
            keys = batch.column(id_field).cast(pa.string())
            first_id = first_id or next(filter(None, keys.slice(0, 100).to_pylist()), "")
            few = batch.filter(pc.is_in(keys, wanted))
            chosen = few.column(id_field).cast(pa.string()).to_pylist()
            known.update(chosen)
            for field in fields:
                values = found[field]
                for key, value in zip(chosen, few.column(field).to_pylist(), strict=True):
                    values.setdefault(key, None if value is None else str(value))
    every = ids.tolist()
    columns = {field: np.array([values.get(each) for each in every], np.object_) for field, values in found.items()}
    return Looked(columns, sum(each in known for each in every), len(every), first_id)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Errors of reading a table, as one of ours."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RequestError(
            f"{path}: can't be read as a table ({str(error).splitlines()[0]:.200}); Parquet, CSV, TSV and JSON lines "
            "are read, by the name's ending"
        ) from error


def _dataset(path: Path) -> Any:
    from pyarrow import csv, dataset  # noqa: PLC0415 - most reports have no table

    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        options = csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True)
        read_as: dataset.FileFormat = dataset.CsvFileFormat(parse_options=options)
    elif kind in (".jsonl", ".ndjson", ".json"):
        read_as = dataset.JsonFileFormat()
    else:
        read_as = dataset.ParquetFileFormat()
    return dataset.dataset(path, format=read_as)
