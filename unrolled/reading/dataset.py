"""Reading what a job published: `unrolled.open(OUT)`."""

# Over 150 lines: the reader's whole interface, half of it documentation.

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from functools import cached_property
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unrolled.errors import FileFormatError, JobError, counted
from unrolled.format.columns import column_name
from unrolled.format.positions import ALL
from unrolled.format.schema import show_columns
from unrolled.job import names
from unrolled.job.names import part_object
from unrolled.job.shard_id import ShardId
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.protocol.opening import open_job
from unrolled.reading.arrays import numbers
from unrolled.reading.batch import Batch
from unrolled.reading.card import card
from unrolled.reading.lookup import Lookup
from unrolled.reading.nearest import Metric, Neighbour, compared_column, nearest, pooling_of
from unrolled.reading.part_file import Part, explained
from unrolled.reading.pooling import pool_rows
from unrolled.reading.tables import duckdb_table, record_batches, row_group, table_schema
from unrolled.reading.transforms import Pooling, pooled
from unrolled.store.bucket_url import is_url
from unrolled.store.disk.path_limits import whole_home
from unrolled.store.patterns import HIDDEN, matching_paths
from unrolled.store.place import absolute, open_store
from unrolled.tokenization.ragged import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

    from unrolled.protocol.opening import OpenJob
    from unrolled.reading.row import Row
    from unrolled.store.store import Store

StrPath = str | os.PathLike[str]


def open_dataset(source: StrPath | Iterable[StrPath]) -> Dataset:
    """Open the rows that a job published.

    Only the files' footers are read now; the rows come when they are asked for, a row group at a time. A relative path
    is resolved now, so the program may change its directory later.

    Args:
        source: a job's output directory or the URL of its prefix in a bucket, or one of its parts, or several. Of a
            directory, `*.parquet` in the order of the shards; names that begin with "_" or "." are not looked at. A
            pattern, such as "jobs/2024-*", stands for the directories and parts that it matches, in the order of their
            names; other files that it matches are left out.

    Raises:
        FileFormatError: there is no such path, or no part in it; or one is damaged, not ours, or of another format
            version; or two are of different models, have other columns, or are of the same shard; or one in a
            directory is of another job than the directory. The text names the files.
        TransientError: the operating system would not let one be read.
        TypeError: the source is no path, and isn't made of paths.

    Example:
        >>> for row in unrolled.open("out"):
        ...     print(row.id, row.outputs.shape)
    """
    places = [place for each in _listed(source) for place in _matched(each)]
    parts: list[Part] = []
    jobs: list[OpenJob | None] = []
    for place in places:
        _check_exists(os.fspath(place))
        if os.fspath(place).endswith(".parquet") and (is_url(os.fspath(place)) or not Path(place).is_dir()):
            parts.append(_part_at(os.fspath(place)))
            jobs.append(None)
        else:
            found, job = _parts_in(place)
            parts += found
            jobs.append(job)
    if not parts:
        if any(_is_model(os.fspath(place)) for place in places):
            raise FileFormatError(f"no part in {source}: it is a model; give the output directory of a job")
        raise FileFormatError(f"no part in {source}: {_why_none(places, jobs)}")
    return Dataset(parts, [job for job in jobs if job] if all(jobs) else [])


def _listed(source: Any) -> list[StrPath]:
    """The paths of a source.

    Raises:
        FileFormatError: it, or one of its paths, is empty.
        TypeError: it is none, and isn't made of them.
    """
    is_many = isinstance(source, Iterable) and not isinstance(source, str | bytes)
    given: list[Any] = list(source) if is_many else [source]
    if not given:
        raise FileFormatError("the source is empty; give the path or URL of a job or a part, or several")
    for each in given:
        if not isinstance(each, str | os.PathLike):
            raise TypeError(f"the source has {each!r:.100}; give the path or URL of a job or a part, or several")
        if not os.fspath(each):
            raise FileFormatError("the source is an empty text; give the path or URL of a job, or . for this directory")
    return given


@contextmanager
def _told_if_missing(method: str) -> Iterator[None]:
    """Import a package that one method alone needs.

    Raises:
        ModuleNotFoundError: it isn't installed; the text says what needs it, and how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        text = f"{method} needs {error.name}, which isn't installed: pip install {error.name}"
        raise ModuleNotFoundError(text, name=error.name) from error


def _is_model(place: str) -> bool:
    return not is_url(place) and all((Path(place) / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE))


#: What is wrong with a directory that isn't a job's.
_NO_JOB = "give the output directory of a job that has begun"


def _why_none(places: Sequence[StrPath], jobs: Sequence[OpenJob | None]) -> str:
    """Why there is no part to read, for people: of several places, each has its own reason."""
    reasons = [_why_it_has_none(job) if job else _NO_JOB for job in jobs]
    if len(set(reasons)) <= 1:
        return reasons[0] if reasons else _NO_JOB
    return "; ".join(f"{os.fspath(place)}: {why}" for place, why in zip(places, reasons, strict=True))


def _why_it_has_none(job: OpenJob) -> str:
    log = Log()
    try:
        complete = standing(log, job.objects, live=job.job.live).complete
    except JobError as error:
        return str(error)
    if complete:
        return f"the job is complete, and {why_no_row(job)}"
    if log.discarded:
        return "the job was discarded"
    return "none is published yet, or all were removed; `unrolled status` shows how far the job is"


def why_no_row(job: OpenJob) -> str:
    """Why a complete job has no part, and what to do: bad rows would be in a part, which names none as good."""
    if job.job.live:
        return "its input had no row; the same `unrolled enqueue --follow` or `unrolled run --follow` reads more"
    return "its input had no row; when the input has some, the same command with --append adds them"


def _counted(batches: Iterable[pa.RecordBatch], each: Callable[[int], object]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        yield rows
        each(len(rows))


def open_part(store: Store, shard: ShardId) -> Dataset:
    """Open the rows of one part.

    Raises:
        FileFormatError: it is damaged, not ours, or of another format version.
        TransientError: it can't be read now.
    """
    return Dataset([Part(store, part_object(shard))])


def _matched(place: StrPath) -> list[str]:
    """The directories and parts that a pattern matches, sorted by name; any other path or URL alone.

    Raises:
        FileFormatError: a pattern matches nothing, or is one of URLs.
    """
    text = os.fspath(place)
    if is_url(text):
        if "*" in text or "?" in text:
            raise FileFormatError(
                f"{text}: patterns of URLs aren't expanded; give the URLs of the jobs or parts: unrolled.open([URL, …])"
            )
        return [text]
    if not has_magic(text) or os.path.lexists(text):
        return [text]
    try:
        matched = {path: None for path in matching_paths(text, HIDDEN) if not _is_in_job(path)}
    except OSError as error:
        raise FileFormatError(f"{text}: {error.filename} can't be read ({error.strerror})") from error
    # `jobs/**` matches the parts beside their directories.
    found = [path for path in matched if not (path.endswith(".parquet") and os.path.split(path)[0] in matched)]
    if not found:
        raise FileFormatError(
            f"{text}: no path matches this pattern; give the output directories of jobs, or their .parquet files"
        )
    return [path for path in found if path.endswith(".parquet") or Path(path).is_dir()] or found


def _is_in_job(path: str) -> bool:
    """Whether a path is of a job's records, which a pattern such as `jobs/**` matches, too."""
    return names.FOLDER in path.split("/")


def _check_exists(place: str) -> None:
    """Refuse a misspelt path; a store waits for one that is away.

    Raises:
        FileFormatError: there is no such path, or it is another file than a part.
    """
    if is_url(place):
        return
    found = "does not exist"
    with suppress(PermissionError):  # the store says what the system doesn't let it do
        if Path(place).exists():
            if place.endswith(".parquet") or Path(place).is_dir():
                return
            found = "is a file"
        found += (
            f"; {why}" if (why := whole_home(place)) else "; name the output directory of a job, or its .parquet files"
        )
        raise FileFormatError(f"{place}: {found}")


def _part_at(path: str) -> Part:
    """The part that a path or URL names."""
    place, _, name = path.rpartition("/")
    return Part(open_store(absolute(place or ("/" if path.startswith("/") else "."))), name)


def _parts_in(place: StrPath) -> tuple[list[Part], OpenJob | None]:
    """The parts in a directory in the order of the shards, and its job; None where the directory has only parts.

    Raises:
        FileFormatError: one is of another job.
    """
    text = absolute(place)
    store = open_store(text)
    parts: list[Part] = []
    for name in sorted(name for name in store.list() if name.endswith(".parquet") and name[0] not in "._"):
        parts.append(Part(store, name, parts[0] if parts else None))
    parts.sort(key=lambda part: (part.info.shard, part.name))
    job = None
    if store.read(names.JOB, 0, 1) is not None:
        with suppress(JobError):  # what is damaged there damages no part
            job = open_job(text)
    expected = job.job.id if job else parts[0].info.job if parts else ""
    for part in parts:
        if part.info.job != expected:
            whose = "the job in that directory" if job else parts[0].where
            raise FileFormatError(
                f"{part.where} is of another job than {whose}; move it away, or open the files by name to read both"
            )
    return parts, job


class Dataset:
    """The rows of one or more parts, in order.

    Attributes:
        columns: of vectors, each with its name and its width, in the files' order.
        units: width of the first of them.
        precision: of the stored vectors: "float32" or "float16".
        arithmetic: in which they were computed: "float32", "bfloat16" or "bfloat16x3".
        engine: family of engines that computed them: "fused" or "tensorflow".
        model_fingerprint: SHA-256 of the model directory that computed every row, 64 hexadecimal digits.
        tokens: number of real tokens.
        positions: the tokens whose vectors are stored, such as "word-ends"; "all" for all real tokens.
    """

    def __init__(self, parts: Sequence[Part], jobs: Sequence[OpenJob] = ()) -> None:
        if not (isinstance(parts, list | tuple) and parts and all(isinstance(part, Part) for part in parts)):
            raise TypeError(
                f"a Dataset is of parts, not {parts!r:.100}; a job is opened by unrolled.open, as by open('OUT')"
            )
        _refuse_mixed(parts)
        self._jobs = jobs
        self._parts = parts
        self.columns = parts[0].columns
        self.units = self.columns[0].width
        self.precision = parts[0].spec.precision
        self.arithmetic = parts[0].info.arithmetic
        self.engine = parts[0].info.engine
        self.model_fingerprint = parts[0].info.model_fingerprint
        self.tokens = sum(part.info.tokens for part in parts)
        self.positions = str(parts[0].spec.positions or ALL)

    @property
    def files(self) -> list[str]:
        """The paths or URLs of the parts."""
        return [part.where for part in self._parts]

    @property
    def complete(self) -> bool | None:
        """Whether every shard of the job is here, and no other: its input was read to the end, none waits or is dead.

        The job's directory is looked at now. None where parts were named one by one, or copied without the rest of
        their job. A dataset that was opened before its job was complete stays incomplete; open it again.

        Raises:
            JobError: the job's log is damaged.
            TransientError: it can't be read now.
        """
        if not self._jobs:
            return None
        shards = {(part.info.job, part.info.shard) for part in self._parts}
        for job in self._jobs:
            log = Log()
            found = standing(log, job.objects, live=job.job.live)
            if not found.complete or not {(job.job.id, shard) for shard in found.published} <= shards:
                return False
            here = [part for part in self._parts if str(part.store) == str(job.objects.store)]
            if not all(part.info.shard in log.entries for part in here):  # of another input with these names
                return False
        return True

    def __len__(self) -> int:
        return sum(part.info.rows for part in self._parts)

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def __repr__(self) -> str:
        counts = (len(self), "row"), (self.tokens, "token"), (self.units, "unit")
        rows, tokens, units = (counted(*each) for each in counts)
        return f"<Dataset: {rows}, {tokens}, {units} in {counted(len(self._parts), 'file')}>"

    def __getitem__(self, key: str | int) -> Row:
        """One row, by its id or by its number from 0; negative numbers count from the end.

        The first look-up by id reads the ids of all rows; later ones take milliseconds. An index of them stays in
        memory, 16 bytes a row. Of rows with the same id, the first one counts.

        Raises:
            KeyError: no row has this id.
            IndexError: there is no row of this number.
            TypeError: the key is neither text nor an integer.
            FileFormatError: a file turns out to be damaged.
        """
        if isinstance(key, slice):  # type: ignore[unreachable]  # callers may not check types
            raise TypeError("rows are looked up one by one; for several, use itertools.islice(dataset, start, stop)")
        if not isinstance(key, str):
            try:
                # A truth value is a number to Python: `dataset[ids == "a"]` would be the row 0 or 1.
                number = operator.index(None if isinstance(key, bool) else key)  # type: ignore[arg-type]
            except TypeError as error:
                kind = type(key).__name__
                raise TypeError(
                    f"a row is found by its id, a text, or by its number, an integer; not by {kind}"
                ) from error
            return self._lookup.row(number)
        if (row := self._lookup.find(key)) is None:
            raise KeyError(f"no row has the id {key!r:.200}")
        return row

    def __contains__(self, key: object) -> bool:
        """Whether a row has this id; see `__getitem__`."""
        return isinstance(key, str) and self._lookup.find(key) is not None

    def rows(self) -> Iterator[Row]:
        """All rows, one by one."""
        for batch in self.batches():
            yield from batch.rows()

    def batches(self, *, max_rows: int | None = None, max_tokens: int | None = None) -> Iterator[Batch]:
        """All rows, many at a time, as views of what was decoded.

        A batch ends where its row group (about 16 MB) ends, since going on would mean copying: some are
        smaller than the limits allow. A batch keeps its row group in memory.

        Args:
            max_rows: the most rows in a batch, at least 1.
            max_tokens: the most real tokens in a batch, at least 1; a longer row is a batch of its own.

        Raises:
            TypeError: `max_rows` isn't a whole number, or `max_tokens` isn't a number.
            ValueError: a limit is below 1.
            FileFormatError: a file turns out to be damaged.
        """
        if max_rows is not None and (isinstance(max_rows, bool) or not isinstance(max_rows, int | np.integer)):
            raise TypeError(f"max_rows is {max_rows!r}; give a whole number")
        if max_tokens is not None and not isinstance(max_tokens, int | float | np.number):
            raise TypeError(f"max_tokens is {max_tokens!r}; give a number")
        for name, limit in (("max_rows", max_rows), ("max_tokens", max_tokens)):
            if limit is not None and not limit >= 1:  # nan isn't, either
                raise ValueError(f"{name} is {limit}; it must be at least 1")
        return self._batches(max_rows, max_tokens)

    def _batches(self, max_rows: int | None, max_tokens: int | None) -> Iterator[Batch]:
        for part in self._parts:
            for rows in part.record_batches():
                ends = np.cumsum(numbers(rows.column("length")), dtype=np.int64)
                for start, stop in runs(ends, max_tokens, most_rows=max_rows):
                    with explained(part.store, part.name):
                        batch = Batch.from_arrow(rows.slice(start, stop - start), part.columns)
                    yield batch

    def pooled(self, how: Pooling, layer: int | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """One vector for each row: the stored one, else made of the tokens' vectors.

        Args:
            how: "mean", "max", "last" or "first", over the row's real tokens.
            layer: which, from 0, where the job named layers.

        Returns:
            ids: one for each row.
            vectors: float32 (rows, units); NaN for a row without real tokens, unless the job stored zeros there.

        Raises:
            ValueError: `how` is none of the four.
            KeyError: the job stored neither this pooling nor the tokens' vectors of that layer.
            FileFormatError: a file turns out to be damaged.
        """
        names = (column_name(how, layer), column_name("none", layer))
        width = next((column.width for name in names for column in self.columns if column.name == name), self.units)
        ids: list[str] = []
        vectors = np.zeros((len(self), width), np.float32)
        for batch in self.batches():
            vectors[len(ids) : len(ids) + len(batch)] = pooled(batch, how, layer)
            ids += batch.ids
        return ids, vectors

    def record_batches(self, columns: Iterable[str] | None = None) -> pa.RecordBatchReader:
        """All rows as record batches of Arrow, a row group in memory at a time.

        Args:
            columns: their names, which nothing else is read for; None for all that are stored. A pooled column, such
                as "mean", is computed from the tokens' vectors if it isn't stored. It is null for a row without a real
                token, unless the job stored zeros there.

        Raises:
            KeyError: the job doesn't have a column, and it can't be computed.
            TypeError: `columns` is one name.
            ValueError: no column is named, or one twice.
            FileFormatError: on reading, if a file turns out to be damaged.
        """
        if columns is not None and not isinstance(columns, str):
            columns = list(columns)
        schema = table_schema(self._parts[0], columns)
        return pa.RecordBatchReader.from_batches(schema, record_batches(self._parts, columns))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """All stored columns as a stream of Arrow: `pyarrow.table(dataset)` and `polars.DataFrame(dataset)` read it."""
        return self.record_batches().__arrow_c_stream__(requested_schema)

    @property
    def row_groups(self) -> list[tuple[Part, int]]:
        """The pieces in which rows are read, about 16 MB each: for each its part, and its number there."""
        return self._lookup.groups

    def row_group(self, number: int, columns: Sequence[str]) -> pa.RecordBatch:
        """One of `row_groups`; `columns` as in `record_batches`."""
        return row_group(*self.row_groups[number], columns)

    def to_arrow(self, columns: Iterable[str] | None = None) -> pa.Table:
        """All rows as a table of pyarrow, in memory; `columns` as in `record_batches`."""
        return self.record_batches(columns).read_all()

    def to_pandas(self, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """All rows as a frame of pandas; `columns` as in `record_batches`. Vectors are arrays of NumPy.

        A row without a real token has None in place of a pooled vector: `frame.dropna(subset="mean")` leaves it out.

        `pooled` gives one matrix in place of a column of arrays.
        """
        with _told_if_missing("to_pandas"):
            import pandas as pd  # noqa: F401, PLC0415 - only who asks for it needs it
        return self.to_arrow(columns).to_pandas()

    def to_polars(self, columns: Iterable[str] | None = None) -> pl.DataFrame:
        """All rows as a frame of Polars; `columns` as in `record_batches`.

        Pooled vectors are a column of `polars.Array`: its `to_numpy()` is a matrix. A row without a real token has null
        there, which `drop_nulls("mean")` leaves out, and NaN in the matrix.
        """
        with _told_if_missing("to_polars"):
            import polars as pl  # noqa: PLC0415 - only who asks for it needs it
        return pl.DataFrame(self.to_arrow(columns))

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection, columns: Iterable[str] | None = None, *, name: str = "vectors"
    ) -> duckdb.DuckDBPyRelation:
        """A table of DuckDB with all rows, which DuckDB can sort, filter and join without more memory than it is given.

        Args:
            connection: where the table is made; if it is a file, the table stays.
            columns: as in `record_batches`. A row without a real token has NULL in place of a pooled vector, so that
                its similarity to any other is NULL, which sorts last.
            name: of the table; a table or a view of this name is replaced. Its vectors are float32: DuckDB has no
                float16.

        Raises:
            TypeError: the first argument is no connection.
        """
        return duckdb_table(connection, self.record_batches(columns), name)

    def neighbours(
        self,
        query: str | NDArray[np.float32],
        count: int = 10,
        *,
        column: str | None = None,
        metric: Metric = "cosine",
        each: Callable[[int], object] = lambda _: None,
    ) -> list[Neighbour]:
        """The rows whose pooled vectors are nearest to one: exact, all rows are read.

        Args:
            query: a vector (width,), such as one from `Encoder.encode`; or the id of a row, which is left out of the
                result. Of rows with the same id, the first one is meant; the others are compared like all rows.
            count: how many rows, at least 1.
            column: a pooled column; it is computed from the tokens' vectors if it isn't stored. None for the only one
                that is stored, or for the mean if none is; where there are several, one must be named.
            metric: "cosine", "dot", or "euclidean".
            each: called with the number of rows in each batch when it is compared.

        Returns:
            Ids and scores, nearest first. Rows without a token have no vector, and are left out.

        Raises:
            KeyError: no row has the id, or the job doesn't have the column.
            ValueError: an argument isn't allowed, a column must be named, the vector is of another width, or the row
                has no token, or none at a stored position, and so no vector.
            TypeError: the query is neither an id nor a vector.
            FileFormatError: a file turns out to be damaged.
        """
        # Over 40 lines: half of it is the description of its arguments.
        column = column or compared_column(self.columns)
        pooling, layer = pooling_of(column, self.columns)
        names = ("id", "length", column)
        rows = _counted(record_batches(self._parts, names), each)
        if not isinstance(query, str):
            return nearest(rows, query, count, metric)
        if (number := self._lookup.number(query)) is None:
            raise KeyError(f"no row has the id {query!r:.200}")
        row = self._lookup.row(number)
        if not row.length:
            raise ValueError(f"row {query!r:.200} has no token, and so no vector")
        if column in row.vectors:
            vector = row[column].astype(np.float32)
        else:
            states = row[column_name("none", layer)]
            vector = pool_rows(states, np.array([0, len(states)]), pooling)[0]
        if np.isnan(vector).all():
            raise ValueError(f"row {query!r:.200} has no stored vector: none of its tokens is one of {self.positions}")
        return nearest(rows, vector, count, metric, without=number)

    def card(self, title: str = "Hidden states") -> str:
        """A dataset card, which is the README.md of a data set on the Hugging Face Hub.

        The same rows give the same text.

        Args:
            title: its heading.
        """
        return card(self, title)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._parts)


def _refuse_mixed(parts: Sequence[Part]) -> None:
    first, seen = parts[0], dict[tuple[str, ShardId], str]()
    for part in parts:
        for what, expected, found in (
            ("model", first.info.model_fingerprint, part.info.model_fingerprint),
            ("engine", first.info.engine, part.info.engine),
            ("arithmetic", first.info.arithmetic, part.info.arithmetic),
            ("columns", show_columns(first.spec, first.columns), show_columns(part.spec, part.columns)),
        ):
            if found != expected:
                raise FileFormatError(
                    f"vectors of different models or jobs don't mix: {first.where} is of {what} {expected},"
                    f" {part.where} of {what} {found}; open them apart"
                )
        shard = (part.info.job, part.info.shard)
        if seen.get(shard) == part.where:
            raise FileFormatError(f"{part.where} is named twice: name it, or its directory, once")
        if shard in seen:
            raise FileFormatError(
                f"{seen[shard]} and {part.where} both contain shard {shard[1]}: leave one of them out"
            )
        seen[shard] = part.where
