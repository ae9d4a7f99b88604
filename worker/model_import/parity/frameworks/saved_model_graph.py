"""The states in a SavedModel's graph: its signatures are run by TensorFlow, in a process of its own.

A graph doesn't say which of its tensors are a layer's states, so these are looked for among all that it computes.
"""

# Over 150 lines: the signatures that are tried, and what one process is given and gives back.

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.parity.frameworks.signatures import cut_signature
from worker.model_import.readers.tensorflow.checkpoint import read_variables
from worker.model_import.readers.tensorflow.saved_model import read_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, SavedGraph
    from worker.model_import.parity.frameworks.signatures import Cut
    from worker.model_import.readers.tensorflow.checkpoint import Variables
    from worker.model_import.selection.stack import Stack

#: For all signatures together.
_SECONDS = 300
#: A line that names an error: "tensorflow.python.framework.errors_impl.InvalidArgumentError: …".
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b")
#: Tokens of the longest row, at least.
_FEWEST = 2
_PROCESS = "worker.model_import.parity.frameworks.saved_model_process"
#: The signature that is run unless a program names another one.
_DEFAULT = "serving_default"
_HIDDEN = "it computes layers within branches, or loops within loops, whose states can't be seen"
_ENDS = "the last states of rows with padding are those of padding, or rounding may make a large difference there"
_COUNTS = "it changes variables of whole numbers, and its states may depend on them"
#: Signatures that are tried, at most.
_MOST_SIGNATURES = 64
_TOLD = "its other inputs may say what of a row is padding"
_MISSING = {
    "last": "the states of all tokens but each row's last (or first, if read backward): no tensor has them",
    "but_last": "the states after each row's last step: the graph doesn't read it",
}
#: What inputs get that aren't the rows.
_GIVEN = {"ones": "ones", "zeros": "False", "lengths": "the rows' lengths"}
_PADDED = "rows with padding: no tensor has the states of their tokens, and those in which they end can't be judged"
ENDED = "rows with padding: only the states in which they end, padding included, were seen"
_ROUNDED = "what rounding to {} makes, where the graph has such numbers: TensorFlow computed it in float32"
_APART = "whether the graph joins the directions side by side, as here (merge_mode concat): it has no such tensor"


@dataclass(frozen=True, slots=True)
class Expected:
    """Rows, and the states that a graph must have of them; each by the rows' numbers.

    Attributes:
        rows: the source's ids, of one-hot vectors with -1 for a vector of zeros; or vectors (time, D).
        real: where they have the model's tokens.
        states: those that the imported model has of these, (time, outputs).
        ends: see `Wanted`.
        limit: the largest difference of the same states.
        computes_padding: whether padding changes the states of tokens.
    """

    rows: Mapping[int, NDArray[Any]]
    real: Mapping[int, NDArray[np.bool_]]
    states: Mapping[int, Float32]
    ends: Mapping[int, Float32]
    limit: float
    computes_padding: bool

    def difference(self, states: Mapping[int, Float32]) -> float:
        """The largest difference of some rows' states from these."""
        differences = [float(np.abs(made - self.states[number]).max()) for number, made in states.items()]
        return float(np.max(differences))  # Python's max loses NaN


@dataclass(frozen=True, slots=True)
class Seen:
    """The states that a graph computes.

    Attributes:
        states: of rows that it takes, (time, outputs), by the rows' numbers: those that are nearest to the expected.
        missing: what they don't show, one text each.
        difference: the largest from the expected.
        is_same: whether this is no more than the limit.
        doubt: why they may be others although the imported layers are right, or "".
    """

    states: dict[int, Float32]
    missing: list[str]
    difference: float
    is_same: bool
    doubt: str


def run_saved_graph(own: SavedGraph, stack: Stack, expected: Expected) -> Seen:
    """Run a SavedModel's signatures, and find the last layer's states among what they compute.

    Args:
        own: the file.
        stack: the layers.
        expected: the rows and their states.

    Raises:
        ImportRefusedError: no signature can be run, or another one than those that can may have the states; the text
            is the reason.
    """
    # Over 40 lines: what each signature may show.
    prefix = own.path / "variables" / "variables"
    stored = read_variables(prefix)
    needed = {array.name for one in stack.layers[-1].passes for array in one.parts.values()}
    signatures, left = _signatures(own, stored, needed)
    reason = [*left.values(), ""][0]
    best: Seen | None = None
    until = time.monotonic() + _SECONDS
    for cuts in signatures:
        for cut in cuts:
            if time.monotonic() > until:
                raise ImportRefusedError(f"TensorFlow took longer than {_SECONDS} s")
            try:
                read = replace(expected, rows=_as_read(cut, stack, expected.rows))
                seen = _run(cut, stack, prefix, read, until)
            except ImportRefusedError as error:
                reason = left[cut.name] = str(error)
                continue
            if seen.is_same:
                left.pop(cut.name, None)
                others = {} if cut.name == _DEFAULT else left
                return replace(
                    seen, missing=seen.missing + [f"the signature {one}: {why}" for one, why in others.items()]
                )
            reason = seen.doubt or reason
            left[cut.name] = seen.doubt or f"its nearest states differ by {seen.difference:.1e}"
            if best is None or seen.difference < best.difference:
                best = seen
        if len(cuts) > 1:
            reason = f"its signature {cuts[0].name} has other inputs, and may read these rows in another way"
    if best is None or reason:  # another signature may have the states
        raise ImportRefusedError(reason or "it has no signature that computes the last layer")
    return best


def _signatures(own: SavedGraph, stored: Variables, needed: set[str]) -> tuple[list[list[Cut]], dict[str, str]]:
    """The signatures that compute with some variables, each with the rows in each of its inputs; why others can't."""
    found, left = [], {}
    for graph in read_graph(own.path / "saved_model.pb").meta_graphs:
        names = [name for name, signature in graph.signature_def.items() if signature.inputs]
        for name in sorted(names, key=lambda one: (one != _DEFAULT, one)):
            try:
                cut = cut_signature(graph, name, stored.graph)
            except ImportRefusedError as error:
                left[name] = str(error)
                continue
            if not needed - {stored.names.get(key) for key in (*cut.plain.values(), *cut.resources.values())}:
                found.append(cut.each_input())
    return found[:_MOST_SIGNATURES], left


def _as_read(cut: Cut, stack: Stack, rows: Mapping[int, NDArray[Any]]) -> Mapping[int, NDArray[Any]]:
    """The rows as a signature reads them: ids, or vectors."""
    shape = cut.rows["shape"]
    width = stack.input_dim if stack.vectors else stack.one_hot_dim if stack.table is None else None
    if shape is not None and not (len(shape) == 2 if width is None else len(shape) == 3 and shape[2] in (None, width)):
        is_of_ids = width is not None and not stack.vectors and len(shape) == 2  # it makes the vectors itself
        if not is_of_ids:
            raise ImportRefusedError(f"its signature {cut.name} reads something else than these rows")
        return rows
    if width is None or stack.vectors:
        return rows
    made = {number: np.zeros((len(row), width), np.float32) for number, row in rows.items()}
    for number, row in rows.items():
        made[number][np.flatnonzero(row >= 0), row[row >= 0]] = 1.0  # -1 is a vector of zeros
    return made


def _run(cut: Cut, stack: Stack, prefix: Path, expected: Expected, until: float) -> Seen:
    # Over 40 lines: what the process is given, its end, and what it gives back.
    *_, step = stack.chain
    total = next(iter(expected.states.values())).shape[1]
    passes = () if step.layer is None or step.source is not None else step.layer.passes
    widths = [one.projection or one.units for one in passes] or [total]
    plan = {
        "inputs": cut.inputs,
        "outputs": cut.outputs,
        "variables": str(prefix.resolve()),
        "plain": cut.plain,
        "resources": cut.resources,
        "counts": cut.counts,
        "widths": widths,
        "limit": expected.limit,
        "size_bytes": sum(piece.stat().st_size for piece in prefix.parent.glob(f"{prefix.name}.data-*")),
    }
    arrays: dict[str, Any] = {f"row{number}": row for number, row in expected.rows.items()}
    arrays |= {f"states{number}": expected.states[number] for number in expected.rows}
    arrays |= {f"real{number}": expected.real[number] for number in expected.rows}
    arrays |= {f"ends{number}": expected.ends[number] for number in expected.rows}
    with tempfile.TemporaryDirectory(prefix="unrolled-import-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        (place / "plan.json").write_text(json.dumps(plan), "utf-8")
        (place / "graph.pb").write_bytes(cut.graph.SerializeToString())
        np.savez(place / "rows.npz", **arrays)
        command = [sys.executable, "-P", "-m", _PROCESS, scratch]
        try:
            left = max(0.0, until - time.monotonic())
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired as error:
            raise ImportRefusedError(f"TensorFlow took longer than {_SECONDS} s") from error
        if done.returncode:
            raise ImportRefusedError(f"TensorFlow can't run it ({_reason(done.stderr)})")
        about = json.loads((place / "found.json").read_text("utf-8"))
        if "reason" in about:
            raise ImportRefusedError(about["reason"])
        with np.load(place / "made.npz", allow_pickle=False) as made:
            states = {int(name): np.asarray(made[name], np.float32) for name in made.files}
    ways, ends = about["ways"], [expected.ends[number] for number in about["computed"]]
    if max(map(len, states.values())) - ("but_last" in ways) < _FEWEST:
        raise ImportRefusedError("it takes rows of one token alone, which don't show what a state does to the next")
    missing = [_APART] * (len(ways) > 1) + [text for way, text in _MISSING.items() if way in ways]
    is_padded = any(not expected.real[number].all() for number in states)
    if "last" in ways and expected.computes_padding and not is_padded:
        raise ImportRefusedError(_ENDS)
    missing += [ENDED] * ("last" in ways and is_padded)
    if any(number not in states and not expected.real[number].all() for number in about["computed"]):
        missing.append(f"{'some ' * is_padded}{_PADDED}")
    missing += [_ROUNDED.format(one) for one in about["types"]]
    if others := [f"{one['key']} ({_GIVEN[one['given']]})" for one in cut.inputs if one["given"] in _GIVEN]:
        missing.append(f"what other inputs may change, and were given: {', '.join(others)}")
    # The first step's state of a backward pass is its last.
    has_ends = all(any(not np.isnan(one[at]).any() for one in ends) for at in (0, 1)[-len(widths) :])
    doubt = _HIDDEN if about["hidden"] else _COUNTS if cut.counts else "" if has_ends else _ENDS
    if others and is_padded and not expected.computes_padding:
        doubt = doubt or _TOLD
    difference = expected.difference(states)
    return Seen(states, missing, difference, difference <= expected.limit, doubt)


def _reason(written: str) -> str:
    """What an error says in the end, without the places in TensorFlow's own code."""
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    named = [line for line in lines if _ERROR.match(line)]
    return (named or lines or ["it ended without a word"])[-1][:200]
