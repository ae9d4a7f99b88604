"""The comparison of an imported model: its framework, both engines and plain arithmetic must give the same outputs.

A trained model can amplify rounding: textgenrnn's outputs for random characters differ by 2e-4 between two float32
programs. So the effect of rounding on the model is measured in plain NumPy, and differences of that size are allowed.
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
from worker.model_import.parity.original import find_original, run_stack
from worker.model_import.parity.plain_arithmetic import last_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.model.config import ModelConfig
    from unrolled.model.directory import ModelDirectory
    from worker.engines.engine import Engine
    from worker.model_import.found import Float32
    from worker.model_import.selection.stack import Stack

#: Lengths of the rows that are compared: ragged, so that backward passes end at different places of a batch.
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34)

PLAIN = "plain float64 arithmetic"
#: How many times the measured rounding is allowed: two float32 programs round at different places. Ten sets of rows of
#: russtress, chars2vec and textgenrnn needed 5 at most, with any instruction set; an error in a gate makes thousands.
ROUNDINGS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two computations of the same rows.

    Attributes:
        left: name of the first program.
        right: name of the second program.
        largest: the largest absolute difference of two outputs.
    """

    left: str
    right: str
    largest: float


@dataclass(slots=True)
class Parity:
    """The results of all comparisons.

    Attributes:
        comparisons: each with the original framework, or with plain arithmetic if there is none.
        missing: what couldn't be compared, and why, one text each.
        rounding: the largest difference between plain arithmetic in float32 and in float64.
    """

    comparisons: list[Comparison]
    missing: list[str]
    rounding: float


def compare(model: ModelDirectory, stack: Stack, ids_from: int) -> Parity:
    """Compute a few ragged rows with every program here that can compute the model.

    Args:
        model: the imported model.
        stack: the layers that it was made from.
        ids_from: see `Assembled`.
    """
    config, weights, rows = model.config, model.weights(), _rows(model.config.vocab_size)
    made: dict[str, list[Float32]] = {}
    missing = []
    name, run, reason = find_original(stack)
    if run is None:
        missing.append(f"{name}: {reason}")
    else:
        made[name] = run_stack(stack, run, rows, ids_from)
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
    """Check all differences: at most `bound`, or ROUNDINGS times the model's rounding if that is larger.

    Raises:
        ModelError: a difference is larger.
    """
    allowed = max(bound, ROUNDINGS * parity.rounding)
    for found in parity.comparisons:
        if not found.largest <= allowed:
            raise ModelError(
                f"{found.left} and {found.right} differ by {found.largest:.2e}; --parity {bound:g} and float32's "
                f"rounding ({parity.rounding:.1e} for this model) allow {allowed:.1e}. Nothing was written; allow more "
                "with --parity, or report the file's kind and layers"
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
    """An engine for the model, or the reason why there is none."""
    try:
        if name == "fused":
            if lacking := why_unavailable():
                return lacking
            from worker.engines.fused.engine import FusedEngine  # noqa: PLC0415 - only if the kernel is there

            return FusedEngine(model, "float32", 1)
        if find_spec("tensorflow") is None:
            return "TensorFlow isn't installed"
        from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - TensorFlow takes seconds to import

        return TensorFlowEngine(model, device="cpu")
    except UnrolledError as error:
        return str(error)
