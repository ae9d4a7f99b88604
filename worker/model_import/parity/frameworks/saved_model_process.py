"""The process that runs a SavedModel's graph: `python -m …parity.frameworks.saved_model_process DIRECTORY`.

The graph doesn't say which of its tensors are a layer's states. So all tensors of such a shape are computed, and those
are written that are nearest to the states that the imported model has.
"""

# Over 150 lines: a process that imports no other module of Unrolled, and so needs no time to start but TensorFlow's.

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

#: What TensorFlow maps beside the model, and how often a model's bytes may be in memory.
_FREE_BYTES, _COPIES = 24 << 30, 6
#: Operations whose outputs aren't computed by the graph, and that begin and end a loop of TensorFlow 1.
_GIVEN, _ENTER, _EXIT = ("Const", "Placeholder"), ("Enter", "RefEnter"), ("Exit", "RefExit")
#: Tensors of a row's size; a graph with more is one of very many steps.
_MOST_TENSORS = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """The states of a row.

    Attributes:
        states: (time, outputs), of the model's tokens.
        real: where the row has these.
    """

    states: NDArray[Any]
    real: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """What a graph computes that is nearest to the states.

    Attributes:
        difference: the largest from the states.
        states: of each row, (time, outputs).
        apart: whether the passes of the last layer are in tensors of their own.
        last: whether a tensor has the last states of rows alone; `states` has the wanted ones elsewhere.
    """

    difference: float
    states: dict[int, NDArray[Any]]
    apart: bool
    last: bool


def main(directory: Path) -> None:
    """Run `graph.pb` as `plan.json` says with the rows of `rows.npz`, and write `made.npz` and `found.json`."""
    plan = json.loads((directory / "plan.json").read_text("utf-8"))
    _limit_memory(_FREE_BYTES + _COPIES * plan["size_bytes"])
    with np.load(directory / "rows.npz", allow_pickle=False) as stored:
        rows = {int(name[3:]): stored[name] for name in stored.files if name.startswith("row")}
        wanted = {number: Wanted(stored[f"states{number}"], stored[f"real{number}"]) for number in rows}
    graph, inputs = _frozen((directory / "graph.pb").read_bytes(), plan)
    best: Found | None = None
    taken: set[int] = set()
    for rows_first in (True, False):
        made = _computed(graph, inputs, plan, rows, rows_first=rows_first)
        taken |= made.keys()
        found = _nearest(made, {number: wanted[number] for number in made}, plan["widths"], plan["limit"])
        best = found if best is None or (found is not None and found.difference < best.difference) else best
        if best is not None and best.difference <= plan["limit"]:
            break
    about = {"rows": len(taken), "found": best is not None}
    about |= {"apart": best is not None and best.apart, "last": best is not None and best.last}
    (directory / "found.json").write_text(json.dumps(about))
    if best is not None:
        named: dict[str, Any] = {f"{number}": each for number, each in best.states.items()}
        np.savez(directory / "made.npz", **named)


def _limit_memory(size_bytes: int) -> None:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ModuleNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))


def _frozen(content: bytes, plan: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """The graph with its variables' numbers and without calls of functions, and its inputs."""
    import tensorflow as tf  # noqa: PLC0415 - after the limits
    from tensorflow.core.framework import graph_pb2  # noqa: PLC0415
    from tensorflow.python.framework import convert_to_constants  # noqa: PLC0415

    definition = graph_pb2.GraphDef.FromString(content)
    reader = tf.train.load_checkpoint(plan["variables"])
    # A plain variable is its numbers; one that is a resource is read by the graph.
    plain = {name: reader.get_tensor(key) for name, key in plan["plain"].items()}
    kept = {name: tf.Variable(reader.get_tensor(key)) for name, key in plan["resources"].items()}
    specs = [
        tf.TensorSpec(one["shape"], tf.as_dtype(one["dtype"]), name=f"given{at}")
        for at, one in enumerate(plan["inputs"])
    ]

    def run(*given: Any) -> Any:
        feeds = {one["name"]: tensor for one, tensor in zip(plan["inputs"], given, strict=True)}
        feeds |= {f"{name}:0": tf.constant(numbers) for name, numbers in plain.items()}
        graph = tf.compat.v1.get_default_graph()
        for name, variable in kept.items():
            graph.watch_variable(variable)  # so that its numbers take its place
            feeds[f"{name}:0"] = graph.capture(variable.handle)
        return tf.graph_util.import_graph_def(definition, input_map=feeds, return_elements=plan["outputs"], name="own")

    function = tf.compat.v1.wrap_function(run, specs)
    constant = convert_to_constants.convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )
    return constant.graph, list(constant.inputs)


def _computed(
    graph: Any, inputs: Sequence[Any], plan: Mapping[str, Any], rows: Mapping[int, NDArray[Any]], *, rows_first: bool
) -> dict[int, list[NDArray[Any]]]:
    """All tensors that may be states, of each row of a length that the graph takes."""
    import tensorflow as tf  # noqa: PLC0415 - after the limits

    sizes = {*plan["widths"], sum(plan["widths"])}
    wanted = [one for one in _outside_loops(graph) if _may_be_states(one, sizes)][:_MOST_TENSORS]
    made = {}
    options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.compat.v1.Session(graph=graph, config=options) as session:
        for number, row in rows.items():
            (shape,) = (one["shape"] for one in plan["inputs"] if one["given"] == "rows")
            batch = _batch(row, shape, rows_first=rows_first)
            if batch is not None:
                count = batch.shape[0 if rows_first else 1]
                feeds = {
                    tensor.name: _given(one, batch, count, len(row)).astype(tensor.dtype.as_numpy_dtype)
                    for tensor, one in zip(inputs, plan["inputs"], strict=True)
                }
                made[number] = session.run(wanted, feeds)
    return made


def _given(one: Mapping[str, Any], batch: NDArray[Any], count: int, length: int) -> NDArray[Any]:
    """What an input is given, see `Cut`."""
    if one["given"] == "rows":
        return batch
    if one["given"] == "lengths":
        return np.full(count, length)
    sizes = [size or (length if axis else count) for axis, size in enumerate(one["shape"] or [])]
    return np.full(sizes, one["given"] == "ones")


def _batch(row: NDArray[Any], shape: Sequence[int | None] | None, *, rows_first: bool) -> NDArray[Any] | None:
    """A row among others as the graph's input; None if the graph takes no row of its length."""
    sizes = [None, None] if shape is None else [*shape[:2]]
    count, length = sizes if rows_first else sizes[::-1]
    if length not in (None, len(row)):
        return None
    # The number of rows differs from the number of tokens, so that the axes of a tensor can be distinguished.
    count = count or (3 if len(row) == 2 else 2)
    batch = np.stack([row, *(np.roll(row, shift, axis=0)[::-1] for shift in range(1, count))])
    return batch if rows_first else batch.swapaxes(0, 1)


def _outside_loops(graph: Any) -> Iterator[Any]:
    """The tensors of a graph, but those within loops of TensorFlow 1, which can't be fetched."""
    inside = set[str]()
    waiting = [one for one in graph.get_operations() if one.type in _ENTER]
    while waiting:
        operation = waiting.pop()
        if operation.name not in inside and operation.type not in _EXIT:
            inside.add(operation.name)
            waiting += [reader for tensor in operation.outputs for reader in tensor.consumers()]
    for operation in graph.get_operations():
        if operation.type not in _GIVEN and operation.name not in inside:
            yield from operation.outputs


def _may_be_states(tensor: Any, sizes: set[int]) -> bool:
    rank = tensor.shape.rank
    return tensor.dtype.is_floating and (rank is None or (rank in (2, 3) and tensor.shape[-1] in (None, *sizes)))


def _nearest(
    made: Mapping[int, Sequence[NDArray[Any]]], wanted: Mapping[int, Wanted], widths: Sequence[int], limit: float
) -> Found | None:
    """What is nearest to the states; None if no tensor has their shape.

    Args:
        made: the tensors of each row.
        wanted: the states of each row.
        widths: of the passes of the last layer, whose tensors may be apart.
        limit: the largest difference of the same states.
    """
    tensors = [*zip(*made.values(), strict=True)]
    found = []
    for parts in ([sum(widths)], widths):
        pieces = []
        for at, end in enumerate(np.cumsum(parts)):
            piece = [Wanted(one.states[:, end - parts[at] : end], one.real) for one in wanted.values()]
            seen = [*_seen(tensors, piece, backward=at > 0, last=False)]
            if len(parts) == len(widths) and not (seen and min(seen, key=_difference)[0] <= limit):
                seen += _seen(tensors, piece, backward=at > 0, last=True)
            pieces.append(min(seen, key=_difference, default=None))
        known = [one for one in pieces if one is not None]
        if known and len(known) == len(parts):
            joined = [np.concatenate(each, axis=1) for each in zip(*(states for _, states, _ in known), strict=True)]
            largest = max(difference for difference, _, _ in known)
            states = dict(zip(made, joined, strict=True))
            found.append(Found(largest, states, apart=len(parts) > 1, last=any(last for _, _, last in known)))
            if largest <= limit:
                break
    return min(found, key=lambda one: one.difference, default=None)


def _difference(seen: tuple[float, Any, bool]) -> float:
    return seen[0]


def _seen(
    tensors: Iterable[Sequence[NDArray[Any]]], wanted: Sequence[Wanted], *, backward: bool, last: bool
) -> Iterator[tuple[float, list[NDArray[Any]], bool]]:
    """The differences of tensors from the states of a pass, for each way in which they may have them, with the states.

    Args:
        tensors: each in all rows.
        wanted: the states of each row.
        backward: whether the pass reads a row from its end; then a tensor may be in that order, too.
        last: whether a tensor may have the last states of rows alone; then the other ones are taken as they should be.
    """
    for tensor in tensors:
        for turned in (False, True)[: 2 if backward and not last else 1]:
            pairs = [*zip(tensor, wanted, strict=True)]
            found = [_with_last(*pair, backward=backward) if last else _whole(*pair, turned=turned) for pair in pairs]
            states = [one for one in found if one is not None]
            if len(states) == len(found):
                pairs = [*zip(states, wanted, strict=True)]
                largest = float(np.max([np.abs(made - one.states).max() for made, one in pairs]))
                yield (largest if np.isfinite(largest) else float("inf")), states, last


def _whole(array: NDArray[Any], wanted: Wanted, *, turned: bool) -> NDArray[Any] | None:
    """The first row's states in a tensor (rows, time, width) or (time, rows, width); None if it has another shape."""
    if array.ndim != 3 or array.shape[2] != wanted.states.shape[1] or len(wanted.real) not in array.shape[:2]:
        return None
    row = array[0] if array.shape[1] == len(wanted.real) else array[:, 0]
    return np.asarray((row[::-1] if turned else row)[wanted.real], np.float64)


def _with_last(array: NDArray[Any], wanted: Wanted, *, backward: bool) -> NDArray[Any] | None:
    """The states with the first row's of a tensor (rows, width) at one place; None if it has another shape."""
    at = 0 if backward else -1
    if array.ndim != 2 or array.shape[1] != wanted.states.shape[1] or not wanted.real[at]:
        return None
    made = np.array(wanted.states, np.float64)
    made[at] = array[0]
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]))
