"""The encoder: a model that computes the vectors of rows in the user's own program."""

# Over 150 lines: one class, most of it the description of its public methods.

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from inspect import signature
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from unrolled.errors import ModelError, RowError
from unrolled.format.output_spec import OutputSpec
from unrolled.model.directory import open_model
from unrolled.store.bucket_url import is_url
from unrolled.tokenization.ascii_lookup import word_lookup
from unrolled.tokenization.ragged import Ragged, runs
from unrolled.tokenization.texts import ids_of_texts
from unrolled.tokenization.tokenizer import load_tokenizer
from worker.encoder.arguments import checked_model, checked_switch, engine_options, plain_value, refuse_set
from worker.encoder.initial_states import with_initial_states
from worker.encoder.progress import Progress, watched
from worker.encoder.results import Output, load_library, normalized, row_vectors, token_vectors
from worker.encoder.rows import Rows, each_row, plain, read_rows
from worker.encoder.vector_rows import is_vector, read_vectors
from worker.engines.choice import choose_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.model.directory import ModelDirectory
    from unrolled.settings.worker_options import WorkerOptions
    from worker.engines.engine import Engine

Pooling = Literal["mean", "max", "last", "first"]
#: The layers of a result: the last, all, one by its number from 0, or several.
Layers = Literal["last", "all"] | int | tuple[int, ...] | list[int]

#: `encode_batches` reads rows until it has this many characters, token ids or numbers of them.
_BATCH_SIZE = 1 << 20
#: And computes as many of them at once as have vectors of this many bytes: 65,536 tokens with 512 units.
_BATCH_BYTES = 1 << 27


def load(
    model: str | os.PathLike[str],
    *,
    engine: Literal["auto", "fused", "tensorflow"] = "auto",
    arithmetic: Literal["float32", "bfloat16", "bfloat16x3"] = "float32",
    threads: int | None = None,
    emulate: bool = False,
) -> Encoder:
    """Load a model, to compute vectors in this program.

    Args:
        model: a model directory, as `unrolled model` makes it.
        engine: what computes; "auto" means "tensorflow" if TensorFlow is installed, and there is an NVIDIA GPU or the
            fused engine isn't built; otherwise, and with other arithmetics than "float32", it means "fused".
        arithmetic: how it computes; "bfloat16" is faster and less exact, "bfloat16x3" is nearly as exact as float32 and
            faster on processors with matrix units.
        threads: threads of the engine; None for one for each core that the process may use.
        emulate: compute in "bfloat16x3" without matrix units too, slower than "float32".

    Raises:
        ValueError: an argument isn't allowed.
        TypeError: one is of a type that isn't allowed.
        ModelError: the directory is not a model, or its weights can't be read.
        UnrolledError: the engine isn't installed; the text says how to install it.
        BrokenWorkerError: the engine doesn't run on this machine.
    """
    options = engine_options(engine, arithmetic, threads, emulate=emulate)
    return Encoder(open_model(checked_model(model)), options, os.fspath(model))


class _How(NamedTuple):
    """How rows are encoded: the options of `Encoder.encode`, checked.

    Attributes:
        columns: the vectors that are wanted.
        is_one: whether the result is that of one column, rather than a dictionary.
        output, normalize, add_special_tokens, progress: as `Encoder.encode` takes them.
    """

    columns: tuple[VectorColumn, ...]
    is_one: bool
    output: Output
    normalize: bool
    add_special_tokens: bool
    progress: Progress


class Encoder:
    """Computes the vectors of rows; `unrolled.load` makes it.

    With the fused engine, a row's vectors are the same, bit for bit, as those that a job in the same arithmetic writes
    on the same kind of processor. Many threads may use one encoder; its pools are computed one after the other. It can
    be pickled, and used after a fork with the fused engine: then it loads the model again.

    Args:
        model: the model.
        options: engine, arithmetic, threads, and how many tokens are computed at once.
        place: path or URL of the model, from where a pickle loads it again.
    """

    def __init__(self, model: ModelDirectory, options: WorkerOptions, place: str) -> None:
        self._shown = place if is_url(place) else str(model.path)
        # The program may change its directory before the model is loaded again, after a fork or from a pickle.
        self._model = model = replace(model, path=model.path.absolute())
        self._place = place if is_url(place) else str(model.path)
        self._options = options
        self._process = os.getpid()
        path = model.tokenizer_path
        self._tokenizer = None if path is None else load_tokenizer(path, model.config.vocab_size)
        # After the tokenizer: to read the weights is to check that no file of the model has changed.
        self._engine: Engine = choose_engine(options, model)
        self._lookup = None if self._tokenizer is None else word_lookup(self._tokenizer)

    @property
    def width(self) -> int:
        """Numbers in a vector of the last layer."""
        return self._model.config.output_dim

    @property
    def initial_state_width(self) -> int:
        """Numbers in the initial states of a row; 0 if the model reads none."""
        return self._model.config.given_dim

    @property
    def engine(self) -> str:
        """The engine: "fused" or "tensorflow"."""
        return self._engine.name

    @property
    def arithmetic(self) -> str:
        """How it computes: "float32", "bfloat16" or "bfloat16x3"."""
        return self._engine.arithmetic

    def encode(
        self,
        rows: Any,
        *,
        initial_states: Any = None,
        pooling: Pooling | None = None,
        layers: Layers = "last",
        output: Output = "numpy",
        normalize: bool = False,
        add_special_tokens: bool = True,
        progress: Progress = None,
    ) -> Any:
        """Compute the vectors of rows.

        Args:
            rows: texts, or rows of token ids (lists, tuples, integer arrays; 0 is padding and gets no vector), in a
                list, an iterator, or an Arrow array, such as a column of Polars or DuckDB. One text, or one row of
                ids, gives one result. For a model that reads vectors: arrays (steps, width) or lists of vectors, or an
                Arrow array of lists of lists; one array of two axes is one row.
            initial_states: for a model that reads initial states: for each row the numbers of its layers' states, as
                `unrolled model show` lists them, in an array (rows, width), a list, an iterator, or an Arrow array of
                lists; of one row alone its numbers.
            pooling: None for a vector for each real token; "mean", "max", "last" or "first" for one for each row.
            layers: "last", or a layer's number from 0; "all", or several numbers, give a dictionary of results by
                number.
            output: "numpy"; "arrow" for one array of pyarrow; "torch" and "tf" for tensors.
            normalize: whether each vector is divided by its length.
            add_special_tokens: whether the tokenizer adds its special tokens to texts.
            progress: None shows a bar on a terminal if the work takes more than two seconds, True shows one always,
                False never; or a function that is called with the tokens that are done and the tokens that there are.

        Returns:
            In the order of the rows: without pooling a list of float32 arrays (tokens, width), for "arrow" one list
            array, for "tf" a ragged tensor; with pooling one array (rows, width). A row without a token has no pooled
            vector: NaN, and null in Arrow. The results share memory with each other, not with the encoder.

        Raises:
            RowError: a row can't be used; the text has its number and the reason. Nothing has been computed.
            ValueError: an argument isn't allowed, or there isn't an initial state for each row of a model that reads
                them.
            TypeError: the rows or their initial states are none of these.
            MemoryError: the results don't fit into memory; `encode_batches` computes rows in batches.
        """
        # Over 40 lines: most of it is the description of its arguments.
        how = self._how(pooling, layers, output, normalize, add_special_tokens, progress)
        (found,) = self._encoded(rows, initial_states, how, None)
        return found

    def tokenize(self, rows: Any, *, add_special_tokens: bool = True) -> list[NDArray[np.int32]]:
        """The real token ids of each row, in order; arguments and errors are those of `encode`.

        Raises:
            ValueError: the model reads vectors, which have no ids.
        """
        if self._model.config.vector_dim is not None:
            raise ValueError("the model reads vectors, which have no token ids")
        add_special_tokens = checked_switch(add_special_tokens, "add_special_tokens")
        real = self._read(rows, add_special_tokens=add_special_tokens).real
        return [real.values[begin:end] for begin, end in pairwise(real.offsets.tolist())]

    def encode_batches(
        self,
        rows: Iterable[Any],
        *,
        batch_rows: int = 4096,
        initial_states: Iterable[Any] | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Compute the vectors of any number of rows, a batch at a time, in bounded memory.

        Args:
            rows: texts, rows of token ids or rows of vectors; it is read as far as the next batch needs.
            batch_rows: the most rows in a batch. Long rows make smaller batches: the vectors of one take at most 128
                MiB, but for those of a single row.
            initial_states: those of the rows, for a model that reads them; read one by one as the rows are.
            options: those of `encode`.

        Returns:
            An iterator: for each batch of consecutive rows what `encode` returns for them.

        Raises:
            ValueError: an argument isn't allowed; or, after the last batch, there are more initial states than rows.
            TypeError: this is one row and not several, or a table.
            RowError: as `encode`; the number of the row counts from the beginning of its batch.
        """
        batch_rows = plain_value(batch_rows)
        if type(batch_rows) is not int or batch_rows < 1:
            raise ValueError(f"batch_rows is {batch_rows!r}; allowed: a whole number from 1")
        if unknown := options.keys() - signature(self.encode).parameters.keys():
            raise TypeError(f"encode_batches() has no option {min(unknown)!r}; it has those of encode()")
        refuse_set(initial_states, "initial_states")
        how = self._how(**{"progress": False, **options})
        each = each_row(rows, is_vector if self._model.config.vector_dim is not None else lambda _: False)
        return self._batches(each, initial_states, batch_rows, how)

    def _batches(
        self, rows: Iterator[Any], initial_states: Iterable[Any] | None, batch_rows: int, how: _How
    ) -> Iterator[Any]:
        batch: list[Any] = []
        size, width = 0, self._model.config.given_dim
        left = None if initial_states is None else map(plain, initial_states)

        def encoded() -> Iterator[Any]:
            states = None if left is None else list(islice(left, len(batch)))
            return self._encoded(batch, states, how, _BATCH_BYTES)

        for row in rows:
            batch.append(row)
            size += (len(row) if hasattr(row, "__len__") else 0) * (self._model.config.vector_dim or 1) + width
            if len(batch) == batch_rows or size >= _BATCH_SIZE:
                yield from encoded()
                batch, size = [], 0
        if batch:
            yield from encoded()
        if left is not None and next(left, left) is not left:  # they aren't counted: they may be endless
            raise ValueError("there are more initial states than rows; give as many")

    def __repr__(self) -> str:
        """The model, and what computes it."""
        return f"<Encoder of {self._shown!r}: {self._engine.description}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """The model's place only: the model is loaded again when the pickle is read."""
        return _reload, (self._place, self._model.fingerprint, self._options)

    def _how(
        self,
        pooling: Pooling | None = None,
        layers: Layers = "last",
        output: Output = "numpy",
        normalize: bool = False,
        add_special_tokens: bool = True,
        progress: Progress = None,
    ) -> _How:
        """The options of `encode`, checked; errors are those of `encode`."""
        columns, is_one = self._columns(pooling, layers)
        if output not in get_args(Output):
            raise ValueError(f"output is {output!r}; allowed: {', '.join(get_args(Output))}")
        load_library(output)
        normalize = checked_switch(normalize, "normalize")
        add_special_tokens = checked_switch(add_special_tokens, "add_special_tokens")
        progress = plain_value(progress)
        if not (progress is None or callable(progress)):
            progress = checked_switch(progress, "if no function, progress")
        return _How(columns, is_one, output, normalize, add_special_tokens, progress)

    def _encoded(self, rows: Any, initial_states: Any, how: _How, most_bytes: int | None) -> Iterator[Any]:
        """Yield what `encode` returns for as many rows at a time as have `most_bytes` of vectors.

        A single row may have more; None is no limit.
        """
        found = self._read(rows, add_special_tokens=how.add_special_tokens)
        found = with_initial_states(found, initial_states, self._model.config.given_dim)
        # The bytes of vectors up to the end of each row.
        ends = np.sum([column.width * 4 * _ends(found.real, column) for column in how.columns], axis=0)
        for start, stop in runs(ends, most_bytes) or [(0, 0)]:
            some = Rows(found.real.take(start, stop), found.single)
            # Not kept by a name here, while the next ones are computed.
            yield self._results(some, how)

    def _results(self, rows: Rows, how: _How) -> Any:
        """The result of the only column, or a dictionary with the result of each by its layer."""
        results = {}
        for column, vectors in zip(how.columns, self._compute(rows.real, how.columns, how.progress), strict=True):
            kept = normalized(vectors) if how.normalize else vectors
            result = (
                token_vectors(kept, rows.real.offsets, how.output)
                if column.per_token
                else row_vectors(kept, rows.real.lengths == 0, how.output)
            )
            number = column.layer_of(len(self._model.config.layers))
            results[number] = result[0] if rows.single else result
        return next(iter(results.values())) if how.is_one else results

    def _read(self, rows: Any, *, add_special_tokens: bool) -> Rows:
        config = self._model.config
        if config.vector_dim is not None:
            return read_vectors(rows, config.vector_dim, config.mask_value)
        found = read_rows(
            rows,
            lambda texts: ids_of_texts(texts, self._tokenizer, self._lookup, add_special_tokens=add_special_tokens),
            config.vocab_size,
        )
        if (padding := config.padding) is not None:
            lengths = found.real.lengths
            for row in np.flatnonzero(lengths > padding.length)[:1]:
                raise RowError(f"row {row}: {padding.why_too_long(int(lengths[row]))}")
        return found

    def _columns(self, pooling: str | None, layers: Layers) -> tuple[tuple[VectorColumn, ...], bool]:
        """The columns of vectors, and whether the result is one rather than a dictionary."""
        if pooling is not None and pooling not in get_args(Pooling):
            raise ValueError(f"pooling is {pooling!r}; allowed: None, {', '.join(get_args(Pooling))}")
        config = self._model.config
        every = range(len(config.layers))
        given = plain_value(layers)
        wanted: Any = {"last": [every[-1]], "all": [*every]}.get(given) if isinstance(given, str) else given
        one = not isinstance(wanted, Iterable)
        numbers: list[Any] = [wanted] if one else [*map(plain_value, wanted)]
        if not numbers or any(type(number) is not int or number not in every for number in numbers):
            raise ValueError(f"layers is {layers!r}; allowed: 'last', 'all', or numbers from 0 to {every[-1]}")
        spec = OutputSpec(tuple(sorted(set(numbers))), (pooling or "none",))
        return spec.columns(config), one or given == "last"

    def _compute(
        self, real: Ragged, columns: tuple[VectorColumn, ...], progress: Progress
    ) -> list[NDArray[np.float32]]:
        """For each column float32 (tokens or rows, width) of all rows."""
        engine, tokens = self._engine_here(), real.values.size
        outputs = [np.empty((column.vectors(real.rows, tokens), column.width), np.float32) for column in columns]
        with watched(progress, tokens) as advance:
            for start, stop in runs(real.offsets[1:], self._options.pool_tokens):
                first, last = int(real.offsets[start]), int(real.offsets[stop])
                arrays = [
                    array[first:last] if column.per_token else array[start:stop]
                    for array, column in zip(outputs, columns, strict=True)
                ]
                engine.compute([real.take(start, stop)], [arrays], columns)
                advance(last - first)
        return outputs

    def _engine_here(self) -> Engine:
        """The engine of this process; a child gets its own, because a thread of its parent may have been computing."""
        if self._process != os.getpid():
            if self.engine != "fused":
                raise RuntimeError(
                    "this encoder was loaded before the process was forked, which TensorFlow doesn't survive; "
                    "load it in each process, or start processes with the method 'spawn'"
                )
            # No lock, which another thread could have held during the fork. Two threads may load it twice.
            self._engine, self._process = choose_engine(self._options, self._model), os.getpid()
        return self._engine


def _ends(rows: Ragged, column: VectorColumn) -> NDArray[np.int64]:
    """int64 (rows,): how many vectors a column has up to the end of each row."""
    return rows.offsets[1:] if column.per_token else np.arange(1, rows.rows + 1)


def _reload(place: str, fingerprint: str, options: WorkerOptions) -> Encoder:
    model = open_model(place)
    if model.fingerprint != fingerprint:
        raise ModelError(f"{place}: the model changed after the encoder was pickled; load it again")
    return Encoder(model, options, place)
