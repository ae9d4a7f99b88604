"""The states in a SavedModel's graph: its signatures are run by TensorFlow, in a process of its own.

A graph doesn't say which of its tensors are a layer's states, so these are looked for among all that it computes.
"""

# Over 150 lines: the signatures that are tried, and what one process is given and gives back.

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.parity.frameworks.signatures import cut_signature
from worker.model_import.readers.tensorflow.checkpoint import read_variables
from worker.model_import.readers.tensorflow.saved_model import read_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, SavedGraph
    from worker.model_import.parity.frameworks.signatures import Cut
    from worker.model_import.readers.tensorflow.checkpoint import Variables
    from worker.model_import.selection.stack import Stack

_SECONDS = 300
_PROCESS = "worker.model_import.parity.frameworks.saved_model_process"
_VECTORS = 3
#: The differences that a type of 8 or 11 bits makes, as a share of the states.
_ROUNDED_SHARE = 0.05
_LAST = "the states of all tokens but each row's last (or first, if read backward): the graph doesn't have them"
_APART = "whether the graph joins the directions side by side, as here (merge_mode concat): it has no such tensor"


@dataclass(frozen=True, slots=True)
class Seen:
    """The states that a graph computes.

    Attributes:
        states: of each row that it takes, (time, outputs), by the rows' numbers: those that are nearest to the wanted.
        missing: what they don't show, one text each.
        precision: see `Cut`.
    """

    states: dict[int, Float32]
    missing: list[str]
    precision: str


def run_saved_graph(
    own: SavedGraph,
    stack: Stack,
    rows: Mapping[int, NDArray[Any]],
    real: Sequence[NDArray[np.bool_] | slice],
    wanted: Mapping[int, Float32],
    limit: float,
) -> Seen:
    """Run a SavedModel's signatures, and find the last layer's states among what they compute.

    Args:
        own: the file.
        stack: the layers.
        rows: the source's ids, of one-hot vectors with -1 for a vector of zeros; or vectors (time, D).
        real: where all rows have the model's tokens.
        wanted: the states that the imported model has of them, (time, outputs).
        limit: the largest difference of the same states.

    Raises:
        ImportRefusedError: no signature can be run; the text is the reason.
    """
    # Over 40 lines: half of it is the description of its arguments.
    prefix = own.path / "variables" / "variables"
    stored = read_variables(prefix)
    needed = {array.name for one in stack.layers[-1].passes for array in one.parts.values()}
    signatures, reason = _signatures(own, stored, needed)
    best, nearest = None, float("inf")
    for cuts in signatures:
        for cut in cuts:
            try:
                seen = _run(cut, stack, prefix, _as_read(cut, stack, rows), real, wanted, limit)
            except ImportRefusedError as error:
                reason = str(error)
                continue
            difference = max(float(np.abs(made - wanted[number]).max()) for number, made in seen.states.items())
            if difference <= limit:
                return seen
            if len(cuts) > 1:
                reason = f"its signature {cut.name} has other inputs, and may read these rows in another way"
            elif difference < nearest:
                best, nearest = seen, difference
    if best is None:
        raise ImportRefusedError(reason)
    return best


def _signatures(own: SavedGraph, stored: Variables, needed: set[str]) -> tuple[list[list[Cut]], str]:
    """The signatures that compute with some variables, each with the rows in each of its inputs; why others can't."""
    found, reason = [], "it has no signature that computes the last layer"
    for graph in read_graph(own.path / "saved_model.pb").meta_graphs:
        for name in sorted(graph.signature_def):
            try:
                cut = cut_signature(graph, name, stored.graph)
            except ImportRefusedError as error:
                reason = str(error)
                continue
            if not needed - {stored.names.get(key) for key in (*cut.plain.values(), *cut.resources.values())}:
                found.append(cut.each_input())
    return found, reason


def _as_read(cut: Cut, stack: Stack, rows: Mapping[int, NDArray[Any]]) -> Mapping[int, NDArray[Any]]:
    """The rows as a signature reads them: ids, or vectors."""
    shape = cut.rows["shape"]
    if not stack.vectors and shape is not None and len(shape) == _VECTORS:
        width = stack.one_hot_dim
        # The row after the last one is a vector of zeros, for the id -1.
        rows = {number: np.eye(width + 1, width, dtype=np.float32)[row] for number, row in rows.items()}
    (like, *_) = rows.values()
    rank = 1 + like.ndim
    if shape is not None and (len(shape) != rank or shape[2:] not in ([], [None], [like.shape[-1]])):
        raise ImportRefusedError(f"its signature {cut.name} reads something else than these rows")
    return rows


def _run(
    cut: Cut,
    stack: Stack,
    prefix: Path,
    rows: Mapping[int, NDArray[Any]],
    real: Sequence[NDArray[np.bool_] | slice],
    wanted: Mapping[int, Float32],
    limit: float,
) -> Seen:
    # Over 40 lines: what the process is given, its end, and what it gives back.
    *_, step = stack.chain
    total = next(iter(wanted.values())).shape[1]
    if cut.precision:  # rather all states with differences such as its rounding makes than the last ones alone
        limit = max(limit, *(_ROUNDED_SHARE * float(np.abs(states).max()) for states in wanted.values()))
    passes = () if step.layer is None or step.source is not None else step.layer.passes
    plan = {
        "inputs": cut.inputs,
        "outputs": cut.outputs,
        "variables": str(prefix.resolve()),
        "plain": cut.plain,
        "resources": cut.resources,
        "widths": [one.projection or one.units for one in passes] or [total],
        "limit": limit,
        "size_bytes": sum(piece.stat().st_size for piece in prefix.parent.glob(f"{prefix.name}.data-*")),
    }
    arrays: dict[str, Any] = {f"row{number}": row for number, row in rows.items()}
    arrays |= {f"states{number}": wanted[number] for number in rows}
    arrays |= {f"real{number}": _mask(real[number], len(row)) for number, row in rows.items()}
    with tempfile.TemporaryDirectory(prefix="unrolled-import-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        (place / "plan.json").write_text(json.dumps(plan), "utf-8")
        (place / "graph.pb").write_bytes(cut.graph.SerializeToString())
        np.savez(place / "rows.npz", **arrays)
        command = [sys.executable, "-P", "-m", _PROCESS, scratch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise ImportRefusedError(f"TensorFlow took longer than {_SECONDS} s") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise ImportRefusedError(f"TensorFlow can't run it ({(lines or ['it ended without a word'])[-1][:200]})")
        about = json.loads((place / "found.json").read_text("utf-8"))
        if not about["rows"]:
            raise ImportRefusedError("it takes none of the rows that would show an error")
        if not about["found"]:
            raise ImportRefusedError("none of its tensors has the shape of the states")
        with np.load(place / "made.npz", allow_pickle=False) as made:
            states = {int(name): np.asarray(made[name], np.float32) for name in made.files}
    return Seen(states, [_APART] * about["apart"] + [_LAST] * about["last"], cut.precision)


def _mask(real: NDArray[np.bool_] | slice, length: int) -> NDArray[np.bool_]:
    made = np.zeros(length, np.bool_)
    made[real] = True
    return made
