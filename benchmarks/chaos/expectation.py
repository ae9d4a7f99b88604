"""What a part must be, byte for byte: its rows computed again in this process, undisturbed, and encoded again."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.format.file_info import FileInfo
from unrolled.format.output_spec import OutputSpec
from unrolled.job.job import Job
from unrolled.model.directory import open_model
from unrolled.tokenization.ragged import Ragged
from worker.engines.engine import Engine
from worker.engines.fused.engine import FusedEngine
from worker.shards.part_content import part_content
from worker.shards.shard_rows import ShardRows


class Expectation:
    """The parts of one input's rows.

    Args:
        model: directory.
        engine: what computes.
        tokens: of each row, by id, as they were written into the input.
        states: initial ones of each row, by id; empty for a model that isn't given any.
    """

    def __init__(self, model: Path, engine: str, tokens: dict[str, list[int]], states: dict[str, list[float]]) -> None:
        self._model = open_model(model)
        self._name = engine
        self._tokens = tokens
        self._states = states

    @cached_property
    def _engine(self) -> Engine:
        if self._name == "fused":
            return FusedEngine(self._model, "float32", 1)
        # It takes seconds to load.
        from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - only who needs it waits for it

        return TensorFlowEngine(self._model, threads=1)

    def part(self, job: Job, content: bytes) -> bytes:
        """The bytes of the part of these rows: those that it holds, and between them those that it calls failed.

        Args:
            job: of the part.
            content: of the part that was found; only its ids and its metadata are believed.

        Raises:
            KeyError: it has a row that isn't among the input's.
        """
        file = pq.ParquetFile(io.BytesIO(content))
        info = FileInfo.decode(file.metadata.metadata)
        ids = file.read(columns=["id"])["id"].to_pylist()
        for failed in info.failed:
            ids.insert(failed.row, failed.id)
        spec = OutputSpec.from_options(job.options)
        columns = spec.columns(self._model.config)
        tokens, real = _ragged([self._tokens[row] for row in ids]), _ragged([_real(self._tokens[row]) for row in ids])
        if self._states:
            given = self._model.config.given_dim
            real = real._replace(states=np.array([self._states[row] for row in ids], np.float32).reshape(-1, given))
        outputs = [np.zeros((c.vectors(real.rows, real.values.size), c.width), np.float32) for c in columns]
        self._engine.compute([real], [outputs], columns)
        rows = ShardRows(pa.array(ids, pa.string()), tokens, real).without({f.row: f.reason for f in info.failed})
        written = io.BytesIO()
        part_content(job, info.shard, rows, outputs, spec, columns)(written)
        return written.getvalue()


def _real(tokens: list[int]) -> list[int]:
    return [token for token in tokens if token]


def _ragged(rows: list[list[int]]) -> Ragged:
    values = np.array([token for row in rows for token in row], np.int32)
    return Ragged.from_lengths(values, np.array([len(row) for row in rows], np.int64))
