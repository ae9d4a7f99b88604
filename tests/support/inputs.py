"""Input files of every format, and short ways to read them."""

# `id` and `format` are the rows' own words.
# ruff: noqa: A001, A002

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from unrolled.errors import RequestError

COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
TEXTS = ["one", "", "zwei drei", '四, "five"', "six\tseven"]
TOKENS = [[1, 2], [], [0, 3, 0], [4], [2**31 - 1]]
FORMATS = ["txt", "jsonl", "csv", "tsv", "parquet", "arrow", "arrows"]


def rows_of(*inputs, stdin=None, **options):
    chosen = SourceOptions(**options)
    plan = check_inputs([str(each) for each in inputs], chosen)
    return [row for batch in read_batches(plan, chosen, stdin=stdin) for row in batch]


def outcome(path, **options):
    """All rows until the end or until an error, and that error, which must name the file."""
    chosen = SourceOptions(**options)
    rows = []
    try:
        for batch in read_batches(check_inputs([str(path)], chosen), chosen):
            rows.extend(batch)
    except RequestError as error:
        assert Path(path).name in str(error)  # noqa: PT017  (what was read before it counts too)
        return rows, error
    return rows, None


def write(path, content, encode=bytes):
    path.write_bytes(encode(content.encode() if isinstance(content, str) else content))
    return path


def table_bytes(table, kind, **options):
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink, row_group_size=2, **options)
    else:
        make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def content_of(format, texts, tokens, ids):
    """The same rows in each format; `texts` or `tokens` is None."""
    field, values = ("text", texts) if tokens is None else ("tokens", tokens)
    if format == "txt":
        return "".join((text if tokens is None else " ".join(map(str, text))) + "\n" for text in values).encode()
    if format == "jsonl":
        rows = [{field: value} | ({"id": id} if ids else {}) for value, id in zip(values, ids or values, strict=True)]
        return "\n".join(map(json.dumps, rows)).encode()
    if format in ("csv", "tsv"):
        out = io.StringIO()
        writer = csv.writer(out, delimiter="," if format == "csv" else "\t")
        writer.writerow(["other", field, "id"] if ids else ["other", field])
        for at, value in enumerate(values):
            cell = value if tokens is None else " ".join(map(str, value))
            writer.writerow(["x", cell, ids[at]] if ids else ["x", cell])
        return out.getvalue().encode()
    columns = {"other": range(len(values)), field: values} | ({"id": ids} if ids else {})
    return table_bytes(pa.table({name: list(value) for name, value in columns.items()}), format)


def count_lines(content, empty=True):
    """The number of lines, with or without those that have no character."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return sum(empty or line.removesuffix(b"\r") != b"" for line in lines)


def plain(row):
    tokens = row.tokens
    return row.text, None if tokens is None else list(tokens), row.id
