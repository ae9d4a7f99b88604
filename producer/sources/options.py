"""How inputs are read."""

from collections.abc import Collection, Container
from dataclasses import dataclass
from typing import Literal, get_args

from unrolled.errors import OptionError

Format = Literal["text", "jsonl", "csv", "tsv", "fasta", "parquet", "arrow"]
Compression = Literal["none", "gzip", "zstd"]
Kind = Literal["auto", "text", "tokens", "vectors"]

FORMATS: tuple[str, ...] = get_args(Format)
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How inputs are read.

    Attributes:
        format: one of FORMATS for all inputs; None to recognize each by its extension (standard input is then text).
        kind: the content of a row. "auto": the text field or the tokens field, whichever exists, but not both; for a
            model that reads vectors, `producer.enqueue.submission` makes it "vectors".
        text_field: name of the field or column with the text.
        tokens_field: name of the field or column with the token ids (in CSV, separated by spaces).
        vectors_field: name of the field or column with the vectors, lists of lists of numbers.
        initial_state_field: name of the field or column with the initial states, lists of numbers; None if none are
            read. For a model that reads them, `producer.enqueue.submission` makes None "initial_state".
        id_field: name of the field or column with the row's id; None for "id", if that exists.
        reads_ids: whether rows have ids; else a field with this name is one like any other, as in a corpus.
        id_first_word: whether the first word of each line of text is the row's id, and no part of the text.
        header: whether the first line of CSV and TSV names the columns; else they are numbered from 1.
        quotes: whether quotation marks enclose fields of CSV and TSV; else they are characters of the fields. None if
            they do, except where a field that they enclose has taken rows into it.
        columns: names of the columns of CSV and TSV without a line of names, separated by commas.
        max_row_bytes: longer rows are quarantined, and never completely in memory.
        batch_rows: the most rows in a batch.
        follow: read standard input as it arrives.
        tick_seconds: the longest time, with `follow`, between two batches, which may be empty.
    """

    format: Format | None = None
    kind: Kind = "auto"
    text_field: str = "text"
    tokens_field: str = "tokens"
    vectors_field: str = "vectors"
    initial_state_field: str | None = None
    id_field: str | None = None
    reads_ids: bool = True
    id_first_word: bool = False
    header: bool = True
    quotes: bool | None = None
    columns: str | None = None
    max_row_bytes: int = 16 * 1024 * 1024
    batch_rows: int = 1024
    follow: bool = False
    tick_seconds: float = 0.1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            OptionError: a value is not allowed, or two contradict each other.
        """
        if self.format is not None and self.format not in FORMATS:
            raise OptionError(f"format {self.format!r} is unknown; allowed: {', '.join(FORMATS)}")
        if self.kind not in KINDS:
            raise OptionError(f"input kind {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        self._check_fields()
        if self.id_first_word and self.id_field is not None:
            raise OptionError("--id-first-word and --id-field exclude each other; give one of them")
        names = self.column_names
        if names is not None and (len(set(names)) < len(names) or not all(names)):
            raise OptionError(f"--columns is {self.columns!r}; allowed: different names, separated by commas")
        for name, value in (("max_row_bytes", self.max_row_bytes), ("batch_rows", self.batch_rows)):
            if value < 1:
                raise OptionError(f"{name} is {value}; allowed: 1 or more")
        if not self.tick_seconds > 0:
            raise OptionError(f"tick_seconds is {self.tick_seconds}; allowed: more than 0")
        if self.follow and self.format in ("parquet", "arrow"):
            raise OptionError(
                f"--follow and --format {self.format} exclude each other; allowed: text, jsonl, csv, tsv, fasta"
            )

    def _check_fields(self) -> None:
        if self.kind == "auto" and self.text_field == self.tokens_field:
            raise OptionError(f"--text-field and --tokens-field are both {self.text_field}; give two different fields")
        if self.initial_state_field in (*self.content_fields, self.id_column):
            raise OptionError(
                f"--initial-state-field is {self.initial_state_field}, which names another field of a row too; give "
                "two different fields"
            )

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """The names of the columns of CSV and TSV, where the user gave them."""
        return None if self.columns is None else tuple(self.columns.split(","))

    @property
    def content_fields(self) -> tuple[str, ...]:
        """The fields that may have a row's content, the text first; only the one that the user named, if any."""
        if self.kind != "auto":
            return (self.text_field if self.kind == "text" else self.numbers_field,)
        fields = (self.text_field, self.tokens_field)
        named = tuple(name for name, usual in zip(fields, ("text", "tokens"), strict=True) if name != usual)
        return named if len(named) == 1 else fields

    @property
    def numbers_field(self) -> str:
        """The field with a row's content if that isn't text."""
        return self.vectors_field if self.kind == "vectors" else self.tokens_field

    def about_vectors(self, names: Container[str]) -> str:
        """Something to say of an input with these fields, if it has vectors and the model doesn't read them."""
        return "; the model reads text or token ids, not vectors" if self.vectors_field in names else ""

    def other_id(self, names: Collection[str]) -> str | None:
        """The name of a field that may have the ids, such as `ID`, where none has the name that is looked for."""
        if not self.reads_ids or self.id_field is not None or self.id_column in names:
            return None
        read = (*self.content_fields, self.initial_state_field)
        may = [name for name in names if name.strip().casefold() == self.id_column and name not in read]
        return may[0] if may and may.count(may[0]) == 1 else None

    @property
    def id_column(self) -> str:
        """The name of the field with the ids."""
        return "id" if self.id_field is None else self.id_field
