"""A function that adds the vectors of a column to Arrow tables, for Ray, Daft, Spark, Dask, Polars and DuckDB."""

# Over 150 lines: one class, most of it the description of its arguments.

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from unrolled.settings.worker_options import MOST_THREADS
from unrolled.store.place import absolute, absolute_where_it_is
from worker.encoder.arguments import checked_layer, checked_model, checked_switch, engine_options
from worker.encoder.encoder import Pooling, load

if TYPE_CHECKING:
    from worker.encoder.encoder import Encoder


class Embedder:
    """Adds a column of vectors to tables; it loads the model at the first one, in whichever process that is.

    Args:
        model: a model directory, or the URL of one in a bucket. A relative path is resolved now; in a process on
            another machine, it is the path from the directory of that process if only that exists.
        column: the column with the texts, with lists of token ids, or with lists of vectors.
        pooling: "mean", "max", "last" or "first" for one vector for each row; None for one for each token.
        into: the name of the column of vectors.
        layer: the number of the layer, from 0; None for the last.
        fixed_size: whether a vector is a fixed-size list of Arrow; False makes plain lists, as Spark needs them.
        engine: as in `unrolled.load`.
        arithmetic: as in `unrolled.load`.
        threads: threads of the engine; None takes `OMP_NUM_THREADS`, which Ray, Dask and Spark set to what they grant
            a task, or else one for each core that the process may use. If that variable is set, the tokenizer has as
            many threads, unless `RAYON_NUM_THREADS` says another number.
        normalize: whether each vector is divided by its length.
        emulate: as in `unrolled.load`.
        initial_states: the column with lists of numbers that are the initial states of rows, for a model that reads
            them.

    Raises:
        ValueError: an argument isn't allowed; or the model, if it is on this machine already, has no such layer.
        TypeError: the model is no path, or a switch is neither True nor False.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        column: str = "text",
        *,
        pooling: Pooling | None = "mean",
        into: str = "embedding",
        layer: int | None = None,
        fixed_size: bool = True,
        engine: Literal["auto", "fused", "tensorflow"] = "auto",
        arithmetic: Literal["float32", "bfloat16", "bfloat16x3"] = "float32",
        threads: int | None = None,
        normalize: bool = False,
        emulate: bool = False,
        initial_states: str | None = None,
    ) -> None:
        for name, given in (("column", column), ("into", into), ("initial_states", initial_states)):
            if not isinstance(given, str) and not (given is None and name == "initial_states"):
                raise ValueError(f"{name} is {given!r}; allowed: the name of a column")
        if not into or into in (column, initial_states):
            raise ValueError(f"into is {into!r}; allowed: a name that isn't empty, and that no column of the table has")
        if pooling is not None and pooling not in get_args(Pooling):
            raise ValueError(f"pooling is {pooling!r}; allowed: None, {', '.join(get_args(Pooling))}")
        options = engine_options(engine, arithmetic, threads, emulate=emulate)
        threads, layer = options.threads, checked_layer(layer, checked_model(model))
        normalize = checked_switch(normalize, "normalize")
        self._initial_states = initial_states
        self._column, self._into = column, into
        self._fixed_size = checked_switch(fixed_size, "fixed_size")
        self._model, self._engine, self._arithmetic, self._threads = os.fspath(model), engine, arithmetic, threads
        self._pooling, self._layer, self._normalize, self._emulate = pooling, layer, normalize, emulate
        self._place = absolute(model)
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    def __call__(self, table: Any) -> Any:
        """The table with the column of vectors at its end.

        Args:
            table: a table or a record batch of pyarrow; or anything that exports Arrow, such as a frame of Polars or
                pandas, which gives a table of pyarrow.

        Raises:
            TypeError: it is neither a table nor exports Arrow.
            KeyError: the table has no such column.
            ValueError: it has the column of vectors already, or two columns of one name that is asked for; or the
                model reads initial states, and no column is named.
            RowError: a row can't be used.
        """
        if not isinstance(table, pa.Table | pa.RecordBatch):
            table = _as_table(table)
        names = table.column_names
        for column in (self._column, self._initial_states):
            if column is not None and column not in names:
                raise KeyError(f"no column {column!r}; the table has {', '.join(names)}")
            if column is not None and names.count(column) > 1:
                raise ValueError(f"the table has {names.count(column)} columns {column!r}; give each a name of its own")
        if self._into in names:
            raise ValueError(f"the table has a column {self._into!r} already; name another one with `into`")
        vectors = self._loaded().encode(
            table.column(self._column),
            initial_states=None if self._initial_states is None else table.column(self._initial_states),
            pooling=self._pooling,
            layers="last" if self._layer is None else self._layer,
            output="arrow",
            normalize=self._normalize,
            progress=False,
        )
        return table.append_column(self._into, vectors if self._fixed_size else _plain(vectors))

    def __getstate__(self) -> dict[str, Any]:
        """The arguments; the encoder stays where it is."""
        return {name: value for name, value in vars(self).items() if name not in ("_encoder", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _encoder=None, _lock=threading.Lock())

    def __repr__(self) -> str:
        """The arguments that say which column becomes which."""
        return f"<Embedder of {self._model!r}: {self._column} → {self._into}>"

    def _loaded(self) -> Encoder:
        with self._lock:
            if self._encoder is None:
                granted = _granted_threads()
                if granted:
                    # The tokenizer's threads: they start with its first batch of texts, as many as this says.
                    os.environ.setdefault("RAYON_NUM_THREADS", str(granted))
                threads = granted if self._threads is None else self._threads
                self._encoder = load(
                    absolute_where_it_is(self._model, self._place),
                    engine=self._engine,
                    arithmetic=self._arithmetic,
                    threads=threads,
                    emulate=self._emulate,
                )
            return self._encoder


def _granted_threads() -> int | None:
    granted = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(granted), MOST_THREADS) if granted.isdecimal() and int(granted) else None


def _as_table(given: Any) -> pa.Table:
    try:
        return pa.table(given)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"can't add vectors to {type(given).__name__}; allowed: a table or a record batch of pyarrow, or what "
            f"exports Arrow, such as a frame of Polars or pandas ({error})"
        ) from error


def _plain(vectors: pa.Array) -> pa.Array:
    """Vectors as lists of any length."""
    kind = vectors.type
    if pa.types.is_fixed_size_list(kind):
        return vectors.cast(pa.list_(kind.value_type))
    make = pa.list_ if pa.types.is_list(kind) else pa.large_list
    return vectors.cast(make(pa.list_(kind.value_type.value_type)))
