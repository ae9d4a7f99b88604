"""An imported model against the framework that it comes from: both engines and plain arithmetic must give the same.

A trained model can amplify rounding: textgenrnn's outputs for random characters differ by 2e-4 between two float32
programs. So what float32 alone does to a model is measured, in plain NumPy, and a difference of that size is no fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import ModelError, UnrolledError
from unrolled.format.output_spec import OutputSpec
from unrolled.ragged import Ragged
from worker.engines.fused.library import why_unavailable
from worker.model_import.parity.original import find_original, run_chain
from worker.model_import.parity.plain import last_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.model.config import ModelConfig
    from unrolled.model.directory import ModelDirectory
    from worker.engines.engine import Engine
    from worker.model_import.chain.chain import Chain
    from worker.model_import.found import Float32

#: Tokens of the rows that are compared: ragged, so that the ends of backward passes stand at different places.
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34)

PLAIN = "plain float64 arithmetic"
#: Two float32 programs round in different places, and one row's luck isn't another's: ten sets of rows of russtress,
#: chars2vec and textgenrnn differ by 5 roundings at most, with any instruction set. An error in a gate makes thousands.
ROUNDINGS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two computations of the same rows.

    Attributes:
        left: what computed the one.
        right: what computed the other.
        largest: the largest difference of two outputs.
    """

    left: str
    right: str
    largest: float


@dataclass(slots=True)
class Parity:
    """What was compared.

    Attributes:
        comparisons: each with the original, or with plain arithmetic where there is none.
        missing: what couldn't be compared, and why.
        rounding: the largest difference that float32 in place of float64 makes to plain arithmetic.
    """

    comparisons: list[Comparison]
    missing: list[str]
    rounding: float


def compare(model: ModelDirectory, chain: Chain, ids_from: int) -> Parity:
    """Run a few ragged rows through whatever can compute the model here.

    Args:
        model: as it was imported.
        chain: as it was found.
        ids_from: see `Assembled`.
    """
    config, weights, rows = model.config, model.weights(), _rows(model.config.vocab_size)
    made: dict[str, list[Float32]] = {}
    missing = []
    name, run, reason = find_original(chain)
    if run is None:
        missing.append(f"{name}: {reason}")
    else:
        made[name] = run_chain(chain, run, rows, ids_from)
    exact = made[PLAIN] = [last_states(config, weights, row, np.float64) for row in rows]
    rounding = _largest(exact, [last_states(config, weights, row, np.float32) for row in rows])
    for engine in ("fused", "tensorflow"):
        found = _engine(engine, model)
        if isinstance(found, str):
            missing.append(f"{engine} engine: {found}")
        else:
            made[f"{engine} engine"] = run_engine(found, config, rows)
    first, *others = made
    return Parity([Comparison(first, other, _largest(made[first], made[other])) for other in others], missing, rounding)


def check(parity: Parity, bound: float) -> None:
    """Raise ModelError if a difference is above a bound and more than float32's rounding explains."""
    allowed = max(bound, ROUNDINGS * parity.rounding)
    for found in parity.comparisons:
        if not found.largest <= allowed:
            raise ModelError(
                f"{found.left} and {found.right} differ by {found.largest:.2e}; --parity {bound:g} and float32's "
                f"rounding "
                f"({parity.rounding:.1e} for this model) allow {allowed:.1e}. Nothing was written; allow more "
                f"with --parity, "
                "or report the file's kind and layers"
            )


def run_engine(engine: Engine, config: ModelConfig, rows: Sequence[NDArray[np.int32]]) -> list[Float32]:
    """The last layer's state after every token of each row, float32 (time, outputs)."""
    columns = OutputSpec().columns(config)
    shard = Ragged.from_lengths(np.concatenate(rows), [len(row) for row in rows])
    outputs = np.empty((shard.values.size, columns[0].width), np.float32)
    engine.compute([shard], [[outputs]], columns)
    return np.split(outputs, shard.offsets[1:-1])


def _rows(vocab_size: int) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(0)
    return [random.integers(1, vocab_size + 1, length, dtype=np.int32) for length in LENGTHS]


def _largest(left: list[Float32], right: list[Float32]) -> float:
    return max(float(np.abs(one - two).max()) for one, two in zip(left, right, strict=True))


def _engine(name: str, model: ModelDirectory) -> Engine | str:
    """An engine, or why there is none."""
    try:
        if name == "fused":
            if lacking := why_unavailable():
                return lacking
            from worker.engines.fused.engine import FusedEngine  # noqa: PLC0415 - only engines that are used are loaded

            return FusedEngine(model, "float32", 1)
        if find_spec("tensorflow") is None:
            return "TensorFlow isn't installed"
        from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - as above

        return TensorFlowEngine(model, device="cpu")
    except UnrolledError as error:
        return str(error)
