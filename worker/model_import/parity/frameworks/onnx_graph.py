"""The graph of an ONNX file, cut above the last layer that is imported, and run by ONNX Runtime.

The graph comes from a stranger, so it runs in a process of its own, with limits on its memory and its time.
"""

# Over 150 lines: cutting a graph, and feeding and reading it, know the same names.

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from worker.model_import.errors import ContradictionError, ImportRefusedError
from worker.model_import.readers.onnx.constants import Constants
from worker.model_import.readers.onnx.file import load
from worker.model_import.readers.onnx.quantized import DOMAIN, is_quantized_lstm
from worker.model_import.readers.onnx.recurrent import GATES
from worker.model_import.selection.initial_states import states_by_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, Found, OnnxGraph
    from worker.model_import.selection.stack import Stack

_SECONDS = 300
#: What ONNX Runtime says of a layer that starts from states of another width than its own.
_STATES = re.compile(r"Input (initial_[hc]) must have shape \{(?:\d+,)*(\d+)\}\. Actual: ?\{(?:\d+,)*(\d+)\}")
_CONTRADICTS = (
    "the file contradicts itself, so ONNX Runtime refuses it: the {0} of a layer has {2} numbers, and its states have "
    "{1}. PyTorch's exporter with dynamo=True writes a layer with proj_size so; export it with dynamo=False, or import "
    "its state dict"
)
#: An ONNX file can't be larger, and arrays from other files are put into the cut one.
_MOST_BYTES = 2**31 - 2**20


def run_onnx(
    own: OnnxGraph,
    found: Found,
    stack: Stack,
    rows: Sequence[NDArray[Any]],
    tokens: Sequence[int],
    begun: Float32 | None = None,
) -> dict[int, Float32]:
    """The outputs of the rows whose lengths the graph takes, by their numbers, (time, outputs).

    Args:
        own: the file.
        found: its content.
        stack: the layers.
        rows: the source's ids or vectors.
        tokens: how many tokens each row has before its padding.
        begun: the initial states that rows bring, (rows, numbers); None if they bring none.

    Raises:
        ImportRefusedError: the graph can't be cut or run; the text is the reason.
    """
    # Over 40 lines: half of it is the description of its arguments.
    model = load(own.path)
    given = states_by_tensor(stack, begun)
    cut = _cut(model, stack.end, own.path.parent, given)
    ids, lengths, states = _inputs(cut, found, stack)
    if stack.vectors and _rank(ids) != 3:
        raise ImportRefusedError(f"its input {ids.name} has {_rank(ids)} axes, and not those of rows of vectors")
    reason = "its inputs or outputs have shapes that are not those of rows of ids"
    # If the graph doesn't show it, a recurrent operator's outputs do by their shape, and those of a function don't.
    known = own.tokens_first.get(ids.name)
    for rows_first in (True, False) if known is None else (not known,):
        feeds = {}
        for number, row in enumerate(rows):
            batch = _batch(ids, row, rows_first=rows_first)
            if batch is None:
                continue
            size = batch.shape[0 if rows_first else 1] if batch.ndim > 1 else 1
            width = stack.one_hot_dim
            vectors = batch
            if _rank(ids) == 3 and not stack.vectors:
                # The row after the last one is a vector of zeros, for the id -1.
                vectors = np.eye(width + 1, width, dtype=np.int64)[batch]
            feeds[number] = {
                ids.name: _typed(vectors, ids),
                **{
                    one.name: _typed(_lengths(one, batch.shape, size, tokens[number], rows_first=rows_first), one)
                    for one in lengths
                },
                **{one.name: _typed(_started(one, size, given, number), one) for one in states},
            }
        try:
            made = _run(cut, feeds, has_states=bool(states)) if feeds else {}
        except ContradictionError:
            raise
        except ImportRefusedError as error:
            reason, made = str(error), {}
        found_rows = {number: _row(output, len(rows[number])) for number, output in made.items()}
        good = {number: states for number, states in found_rows.items() if states is not None}
        if good and len(good) == len(made):
            return good
    raise ImportRefusedError(reason)


def _cut(model: Any, end: str, directory: Path, given: Mapping[tuple[str, int], Float32]) -> Any:
    """The part of a graph that computes one tensor, with all its arrays.

    Args:
        model: the file's.
        end: name of the tensor.
        directory: where the file is.
        given: the states that rows bring: their tensors become inputs, whatever the graph computes them from.
    """
    # Over 40 lines: the nodes that are needed, and then all that they need.
    nodes = list(model.graph.node)  # protobuf may make new objects for each look
    made = {name: node for node in nodes for name in node.output if name}
    # A node without a first output has a name, as the reader has it.
    named = {node.name or f"{node.op_type}_{number}": node for number, node in enumerate(nodes)}
    made |= {name: node for name, node in named.items() if not any(node.output[:1])}
    begun = {name: states.shape[1] for (name, _), states in given.items()}
    needed: set[int] = set()
    waiting, names = [end], set[str]()
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        node = made.get(name)
        if node is None or name in begun:
            continue
        known = node.domain in ("", "ai.onnx") or is_quantized_lstm(node)
        if not known or any(one.HasField("g") or one.graphs for one in node.attribute):
            raise ImportRefusedError(f"{node.name} ({node.op_type}) is an operator that isn't run here")
        needed.add(id(node))
        waiting += [source for source in node.input if source]
    kept = onnx.ModelProto()
    kept.ir_version = model.ir_version
    kept.opset_import.extend(one for one in model.opset_import if one.domain in ("", "ai.onnx", DOMAIN))
    kept.graph.name = "cut"
    kept.graph.node.extend(node for node in nodes if id(node) in needed)
    kept.graph.input.extend(one for one in model.graph.input if one.name in names)
    _give(kept, {name: width for name, width in begun.items() if name in names and name in made}, given)
    constants = Constants(model.graph, directory)
    stored = [tensor.name for tensor in model.graph.initializer if tensor.name in names]
    arrays = {name: constants.get(name) for name in stored}
    if sum(array.nbytes for array in arrays.values() if array is not None) > _MOST_BYTES:
        raise ImportRefusedError("its arrays have more than 2 GiB, and ONNX Runtime reads no such file in one piece")
    kept.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in arrays.items() if array is not None
    )
    output = end
    if end in named and not any(named[end].output[:1]):
        output = "unrolled_states"
        for node in kept.graph.node:
            if node == named[end]:
                node.output[0] = output
    kept.graph.output.append(onnx.ValueInfoProto(name=output))  # ONNX Runtime finds the type
    return kept


def _give(cut: Any, begun: Mapping[str, int], given: Iterable[tuple[str, int]]) -> None:
    """Make inputs of tensors that a graph computes.

    Args:
        cut: the graph, which may have nodes that make them, because it needs what else these make.
        begun: the tensors, with their widths.
        given: them and others, with the numbers of their directions.
    """
    for node in cut.graph.node:
        node.output[:] = [f"{name} in the file" if name in begun else name for name in node.output]
    for name, width in begun.items():
        shape: list[str | int | None] = [1 + max(side for other, side in given if other == name), "rows", width]
        cut.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))


def _inputs(cut: Any, found: Found, stack: Stack) -> tuple[Any, list[Any], list[Any]]:
    """The graph's inputs: the ids, the lengths of rows, and the first states of layers."""
    graph = found.graph or {}
    name, steps = stack.last, 0
    while (node := graph.get(name)) is not None and node.role != "input" and node.inputs and steps <= len(graph):
        name, steps = node.inputs[0], steps + 1
    layers = [node for node in cut.graph.node if node.op_type in GATES or is_quantized_lstm(node)]
    lengths = _sources(cut, [node.input[4] for node in layers if len(node.input) > 4])
    states = _sources(cut, [state for node in layers for state in node.input[5:7]])
    given = {one.name: one for one in cut.graph.input}
    stored = {tensor.name for tensor in cut.graph.initializer}
    others = given.keys() - {name} - lengths - states - stored
    if name not in given or others:
        raise ImportRefusedError(f"it has inputs whose meaning isn't known: {', '.join(sorted(others)) or 'no ids'}")
    return (
        given[name],
        [given[one] for one in sorted((lengths & given.keys()) - {name} - stored)],
        [given[one] for one in sorted((states & given.keys()) - lengths - {name} - stored)],
    )


def _sources(cut: Any, names: Iterable[str]) -> set[str]:
    """All names that tensors are computed from, and their own."""
    made = {name: node for node in cut.graph.node for name in node.output}
    reached: set[str] = set()
    waiting = [name for name in names if name]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            node = made.get(name)
            waiting += [] if node is None or node.op_type == "Shape" else [source for source in node.input if source]
    return reached


def _batch(ids: Any, row: NDArray[Any], *, rows_first: bool) -> NDArray[Any] | None:
    """A row among others as the graph's input; None if the graph takes no row of its length."""
    sizes = [one.dim_value for one in ids.type.tensor_type.shape.dim][:2]
    if len(sizes) == 1:
        return row if sizes[0] in (0, len(row)) and rows_first else None
    if len(sizes) < 2:
        raise ImportRefusedError(f"its input {ids.name} has no shape")
    count, length = sizes if rows_first else sizes[::-1]
    if length not in (0, len(row)):
        return None
    # The number of rows differs from the number of tokens, so that the axes of the output can be distinguished.
    count = count or (3 if len(row) == 2 else 2)
    batch = np.stack([row, *(np.roll(row, shift, axis=0)[::-1] for shift in range(1, count))])
    return batch if rows_first else batch.swapaxes(0, 1)


def _lengths(value: Any, shape: tuple[int, ...], size: int, length: int, *, rows_first: bool) -> NDArray[Any]:
    """The lengths of rows, or a mask of the shape of their ids, from which the graph may compute them."""
    if _rank(value) != 2:
        return np.full(size, length)
    mask = np.zeros(shape[:2], np.int64)
    mask[(slice(None), slice(length)) if rows_first else (slice(length), slice(None))] = 1
    return mask


def _rank(value: Any) -> int:
    return len(value.type.tensor_type.shape.dim)


def _shape(value: Any, size: int) -> list[int]:
    return [one.dim_value or size for one in value.type.tensor_type.shape.dim]


def _started(value: Any, size: int, given: dict[tuple[str, int], Float32], number: int) -> NDArray[Any]:
    """The states of a batch: those that row `number` brings, and others for its other rows; zeros if it brings none."""
    made = np.zeros(_shape(value, size))
    for (name, side), states in given.items():
        if name != value.name:
            continue
        if made.ndim != 3 or made.shape[1:] != (size, states.shape[1]) or side >= len(made):
            raise ImportRefusedError(f"its input {name} doesn't have the axes (directions, rows, units)")
        made[side] = -states[number]
        made[side, 0] = states[number]
    return made


def _typed(array: NDArray[Any], value: Any) -> NDArray[Any]:
    return np.ascontiguousarray(array, onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _row(output: NDArray[Any], length: int) -> Float32 | None:
    """The first row's states, (time, outputs); None if the axes aren't where they must be."""
    if output.ndim == 4 and output.shape[0] == length:  # (time, directions, rows, units)
        return np.asarray(output[:, :, 0], np.float32).reshape(length, -1)
    if output.ndim == 3 and length in output.shape[:2]:
        return np.asarray(output[:, 0] if output.shape[0] == length else output[0], np.float32)
    return None


def _run(model: Any, feeds: dict[int, dict[str, NDArray[Any]]], *, has_states: bool) -> dict[int, NDArray[Any]]:
    with tempfile.TemporaryDirectory(prefix="unrolled-import-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        onnx.save(model, place / "cut.onnx")
        for number, feed in feeds.items():
            named: dict[str, Any] = {f"input {name}": array for name, array in feed.items()}
            np.savez(place / f"feed{number}.npz", **named)
        command = [sys.executable, "-P", "-m", "worker.model_import.parity.frameworks.onnx_process", scratch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise ImportRefusedError(f"ONNX Runtime took longer than {_SECONDS} s") from error
        if done.returncode:
            found = None if has_states else _STATES.search(done.stderr)  # states that are fed may be ours
            if found and found[2] != found[3]:
                raise ContradictionError(_CONTRADICTS.format(*found.groups()))
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise ImportRefusedError(f"ONNX Runtime refuses it ({(lines or ['it ended without a word'])[-1][:200]})")
        return {number: np.load(place / f"made{number}.npy", allow_pickle=False) for number in feeds}
