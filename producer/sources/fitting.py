"""Options that don't fit the formats of the inputs: they would change nothing, or another thing than was meant."""

import re
from collections.abc import Collection, Mapping, Sequence

from producer.sources.discovery import SourceFile
from producer.sources.options import SourceOptions
from unrolled.errors import OptionError, RequestError

#: What rows are in the formats that have no fields.
_ROWS_WITHOUT_FIELDS = {
    "fasta": "in FASTA, the id is the first word after '>', and the text is the sequence",
    "text": "in text, a row is a line, and its id is the line's number, or its first word with --id-first-word",
}
#: The same for rows whose ids aren't read.
_ROWS_WITHOUT_IDS = {"fasta": "in FASTA, the text is the sequence", "text": "in text, a row is a line"}
#: Endings of files that are packed, so that they aren't read as what is in them. Those of one or two letters, which
#: may mean a language, count behind a format's or `.tar` alone.
_PACKED = re.compile(
    r"\.(bz2|xz|lz4|snappy|lzma|zip|7z|rar|tgz|tbz2?|txz|tar(\.(gz|gzip|zstd?|sz|br|lzo?|bz|z|\d{3}))?)$"
    r"|\.(jsonl|ndjson|json|csv|tsv|parquet|pq|arrows?|ipc|feather)\.(sz|br|lz|z)$",
    re.IGNORECASE,
)
#: Options that name a field of a row, by their names in `SourceOptions`.
FIELD_OPTIONS = ("id_field", "text_field", "tokens_field")


def check_options(files: Sequence[SourceFile], options: SourceOptions, named: Collection[str] = ()) -> None:
    """Refuse options that don't fit the formats of the inputs.

    Args:
        files: the inputs.
        options: how they are read.
        named: those of `FIELD_OPTIONS` that the user gave for these inputs. A default, or an environment variable,
            which may be meant for other inputs, is none.

    Raises:
        OptionError: an option is for formats of which there is no input, or for other rows than are read.
        RequestError: an input's format can't hold what the options ask for.
    """
    _need_delimited(files, options)
    _need_text(files, options)
    _need_nested(files, options)
    _need_kind(options, named)
    _need_fields(files, named, _ROWS_WITHOUT_FIELDS if options.reads_ids else _ROWS_WITHOUT_IDS)


def _need_kind(options: SourceOptions, named: Collection[str]) -> None:
    """Refuse the name of a field whose content isn't read.

    Raises:
        OptionError: there is such a name.
    """
    others = {"text": "tokens_field", "tokens": "text_field"}  # for vectors, they are refused with the model's name
    name = others.get(options.kind)
    if name is not None and name in named:
        content = "texts" if options.kind == "text" else "token ids"
        raise OptionError(
            f"--{name.replace('_', '-')} changes nothing, because --kind {options.kind} reads only {content}; leave "
            "one of the two out"
        )


def _need_fields(files: Sequence[SourceFile], named: Collection[str], rows: Mapping[str, str]) -> None:
    """Refuse names of fields where no input has fields.

    Args:
        files: the inputs.
        named: options that name a field.
        rows: what rows are in the formats that have no fields.

    Raises:
        OptionError: there is such a name.
    """
    formats = sorted({file.format for file in files})
    flags = [f"--{name.replace('_', '-')}" for name in FIELD_OPTIONS if name in named]
    if not flags or not formats or any(one not in rows for one in formats):
        return
    packed = next((file.label for file in files if _PACKED.search(file.label)), None)
    if packed is not None:
        raise OptionError(
            f"{packed}: by its name, it is compressed in another way than by gzip or zstd, or an archive; unpack it, "
            "or compress its file with one of these"
        )
    be, leave = ("is", "leave it out") if len(flags) == 1 else ("are", "leave them out")
    raise OptionError(
        f"{' and '.join(flags)} {be} for formats with fields, and the input is {', '.join(formats)}: "
        f"{'; '.join(rows[one] for one in formats)}; {leave}, or name another format, such as "
        "--format jsonl"
    )


def _need_delimited(files: Sequence[SourceFile], options: SourceOptions) -> None:
    """Refuse options about the columns of CSV and TSV where no input is one: they would make it another job.

    Raises:
        OptionError: there is such an option.
    """
    given = {
        "--columns": options.columns is not None,
        "--no-header": not options.header,
        "--no-quotes": options.quotes is False,
        "--quotes": options.quotes is True,
    }
    name = next((name for name, is_given in given.items() if is_given), "")
    if name and not any(file.format in ("csv", "tsv") for file in files):
        found = ", ".join(sorted({file.format for file in files}))
        raise OptionError(f"{name} is for CSV and TSV, and the input is {found}; leave it out, or give --format csv")


def _need_text(files: Sequence[SourceFile], options: SourceOptions) -> None:
    """Refuse --id-first-word where no input is text.

    Raises:
        OptionError: it is given, and none is.
    """
    formats = sorted({file.format for file in files})
    if options.id_first_word and formats and "text" not in formats:
        instead = "in FASTA, it is so without it" if formats == ["fasta"] else "for other formats, give --id-field"
        raise OptionError(f"--id-first-word is for plain text, and the input is {', '.join(formats)}; {instead}")


def _need_nested(files: Sequence[SourceFile], options: SourceOptions) -> None:
    """Refuse formats whose values are flat for rows of vectors or with initial states, and FASTA for token ids.

    Raises:
        RequestError: an input has such a format.
    """
    for file in files:
        if file.format not in ("text", "csv", "tsv", "fasta"):
            continue
        if file.format == "fasta" and options.kind == "tokens":
            raise RequestError(
                f"input {file.label} is read as fasta, which holds texts, not token ids; leave out --kind tokens, or "
                "name another format with --format"
            )
        if options.initial_state_field is not None:
            raise RequestError(
                f"input {file.label} is read as {file.format}, which can't hold the initial states that the model "
                f"reads; give JSON lines, Parquet or Arrow with a column {options.initial_state_field!r} of lists of "
                "numbers (--initial-state-field), and --format if its name doesn't show which"
            )
        if options.kind == "vectors":
            raise RequestError(
                f"input {file.label} is read as {file.format}, which can't hold vectors; give JSON lines, Parquet or "
                "Arrow with a column of lists of lists of numbers (--vectors-field), and --format if its name doesn't "
                "show which"
            )
