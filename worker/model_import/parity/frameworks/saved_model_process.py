"""The process that runs a SavedModel's graph: `python -m …parity.frameworks.saved_model_process DIRECTORY`.

The graph doesn't say which of its tensors are a layer's states. So all tensors of such a shape are computed, and those
are written that are nearest to the states that the imported model has.
"""

# Over 150 lines: a graph's way from its file to the tensors of all rows.

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.parity.frameworks.state_search import Found, Wanted, find_states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

#: What TensorFlow maps beside the model, and how often a model's bytes may be in memory.
_FREE_BYTES, _COPIES = 24 << 30, 6
#: Operations whose outputs aren't computed by the graph, and that begin and end a loop of TensorFlow 1.
_GIVEN, _ENTER, _EXIT = ("Const", "Placeholder"), ("Enter", "RefEnter"), ("Exit", "RefExit")
#: A graph of more rows at once than this isn't run.
_MOST_ROWS = 512
#: Tensors of a row's size; a graph with more is one of very many steps.
_MOST_TENSORS = 32768
#: How lines begin that TensorFlow writes around the reason of an error.
_AROUND = ("Graph execution error", "Detected at node", "<stack traces", "[[{{", "Original stack trace")
_LOOPS = ("StatelessWhile", "While")


def main(directory: Path) -> None:
    """Run `graph.pb` as `plan.json` says with the rows of `rows.npz`, and write `made.npz` and `found.json`."""
    plan = json.loads((directory / "plan.json").read_text("utf-8"))
    _limit_memory(_FREE_BYTES + _COPIES * plan["size_bytes"])
    sys.modules["keras"] = None  # type: ignore[assignment]  # TensorFlow imports it for nothing here, for seconds
    with np.load(directory / "rows.npz", allow_pickle=False) as stored:
        rows = {int(name[3:]): stored[name] for name in stored.files if name.startswith("row")}
        parts = ("states", "real", "ends")
        wanted = {number: Wanted(*(stored[f"{part}{number}"] for part in parts)) for number in rows}
    graph, inputs, types = _frozen((directory / "graph.pb").read_bytes(), plan)
    fetched = _may_have(graph, {*plan["widths"], sum(plan["widths"])})
    if len(fetched) > _MOST_TENSORS:
        (directory / "found.json").write_text(json.dumps({"reason": "it has too many tensors that may be states"}))
        return
    about: dict[str, Any] = {"reason": "it takes none of the rows that would show an error"}
    best: Found | None = None
    computed: list[int] = []
    for rows_first in (True, False):
        made, reason = _computed(graph, inputs, fetched, plan, rows, rows_first=rows_first)
        about["reason"] = reason or about["reason"]
        if not made:
            continue
        tensors = [{number: each[at] for number, each in made.items()} for at in range(len(fetched))]
        found = find_states(tensors, {number: wanted[number] for number in made}, plan["widths"], plan["limit"])
        about["reason"] = "none of its tensors has the shape of the states, as far as these are known"
        if found is not None and (best is None or found.difference < best.difference):
            best, computed = found, [*made]
        if best is not None and best.difference <= plan["limit"]:
            break
    if best is not None:
        about = {"ways": best.ways, "computed": computed, "types": types, "hidden": _hides_states(graph)}
        named: dict[str, Any] = {f"{number}": each for number, each in best.states.items()}
        np.savez(directory / "made.npz", **named)
    (directory / "found.json").write_text(json.dumps(about))


def _limit_memory(size_bytes: int) -> None:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ModuleNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))


def _frozen(content: bytes, plan: Mapping[str, Any]) -> tuple[Any, list[Any], list[str]]:
    """The graph with its variables' numbers, without calls of functions, in float32; its inputs; its other types."""
    import tensorflow as tf  # noqa: PLC0415 - after the limits
    from tensorflow.core.framework import graph_pb2  # noqa: PLC0415
    from tensorflow.python.framework import convert_to_constants  # noqa: PLC0415

    from worker.model_import.parity.frameworks.widening import HALF, widen  # noqa: PLC0415

    definition = graph_pb2.GraphDef.FromString(content)
    types = sorted(widen(definition))
    reader = tf.train.load_checkpoint(plan["variables"])
    # A plain variable is its numbers; one that is a resource is read by the graph.
    plain = {name: _wide(reader.get_tensor(key)) for name, key in plan["plain"].items()}
    kept = {name: tf.Variable(_started(reader.get_tensor(key), plan)) for name, key in plan["resources"].items()}
    specs = [
        tf.TensorSpec(
            one["shape"], tf.float32 if one["dtype"] in HALF else tf.as_dtype(one["dtype"]), name=f"given{at}"
        )
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
    return constant.graph, list(constant.inputs), types


def _started(numbers: NDArray[Any], plan: Mapping[str, Any]) -> NDArray[Any]:
    """A variable's numbers; other ones if it may be a seed, so that states that depend on it aren't the same."""
    numbers = _wide(numbers)
    if not (plan["counts"] and np.issubdtype(numbers.dtype, np.integer)):
        return numbers
    return np.asarray(numbers ^ numbers.dtype.type(1))


def _wide(numbers: NDArray[Any]) -> NDArray[Any]:
    """A variable's numbers, in float32 if they have fewer digits."""
    numbers = np.asarray(numbers)
    return numbers.astype(np.float32) if numbers.dtype.name in ("float16", "bfloat16") else numbers


def _computed(
    graph: Any,
    inputs: Sequence[Any],
    fetched: Sequence[Any],
    plan: Mapping[str, Any],
    rows: Mapping[int, NDArray[Any]],
    *,
    rows_first: bool,
) -> tuple[dict[int, list[NDArray[Any]]], str]:
    """The tensors of each row of a length that the graph takes, with the row in the middle; and why it takes none."""
    import tensorflow as tf  # noqa: PLC0415 - after the limits

    (shape,) = (one["shape"] for one in plan["inputs"] if one["given"] == "rows")
    made, reason = {}, ""
    options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.compat.v1.Session(graph=graph, config=options) as session:
        for number, row in rows.items():
            batch = _batch(row, shape, rows_first=rows_first)
            if batch is None:
                continue
            count = batch.shape[0 if rows_first else 1]
            feeds = {
                tensor.name: _given(one, batch, (count, len(row)), rows_first=rows_first).astype(
                    tensor.dtype.as_numpy_dtype
                )
                for tensor, one in zip(inputs, plan["inputs"], strict=True)
            }
            try:
                made[number] = session.run(fetched, feeds)
            except (tf.errors.OpError, ValueError) as error:  # it may need longer rows
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                told = [line for line in lines if not line.startswith(_AROUND)]
                reason = f"TensorFlow can't run it ({(told or lines or ['no reason'])[0][:200]})"
    return made, reason


def _may_have(graph: Any, sizes: set[int]) -> list[Any]:
    """The tensors that may be states."""
    found = []
    for one in _outside_loops(graph):
        rank = one.shape.rank
        if one.dtype.is_floating and (rank is None or (rank in (2, 3) and one.shape[-1] in (None, *sizes))):
            found.append(one)
    return found


def _hides_states(graph: Any) -> bool:
    """Whether layers are computed within a branch, a call or another loop, whose tensors aren't fetched."""
    library = {one.signature.name: one for one in graph.as_graph_def().library.function}

    def reached(node: Any, seen: set[str]) -> set[str]:
        kinds = {node.op}
        values = [*node.attr.values()]
        for name in {one.func.name for one in values} | {each.name for one in values for each in one.list.func}:
            if name in library and name not in seen:
                seen.add(name)
                kinds = kinds.union(*(reached(each, seen) for each in library[name].node_def))
        return kinds

    for node in (one.node_def for one in graph.get_operations()):
        inner = reached(node, set()) - {node.op} if node.op not in _LOOPS else set()
        if "MatMul" in inner:
            return True
        if node.op in _LOOPS:
            bodies = [library[one.func.name] for one in node.attr.values() if one.func.name in library]
            steps = [reached(each, set()) for body in bodies for each in body.node_def]
            if any(not kinds.isdisjoint(_LOOPS) for kinds in steps):
                return True
    return False


def _given(one: Mapping[str, Any], batch: NDArray[Any], shape: tuple[int, int], *, rows_first: bool) -> NDArray[Any]:
    """What an input is given, see `Cut`; `shape` is the number of rows and of tokens."""
    if one["given"] == "rows":
        return batch
    if one["given"] == "lengths":
        return np.full(shape[0], shape[1])
    first, second = shape if rows_first or len(one["shape"] or []) == 1 else shape[::-1]
    sizes = [size or (second if axis else first) for axis, size in enumerate(one["shape"] or [])]
    return np.full(sizes, one["given"] == "ones")


def _batch(row: NDArray[Any], shape: Sequence[int | None] | None, *, rows_first: bool) -> NDArray[Any] | None:
    """A row among others as the graph's input; None if the graph takes no row of its length."""
    sizes = [None, None] if shape is None else [*shape[:2]]
    count, length = sizes if rows_first else sizes[::-1]
    if length not in (None, len(row)) or (count or 0) > _MOST_ROWS:
        return None
    # The number of rows differs from the number of tokens, so that the axes of a tensor can be distinguished.
    # The row has others before and behind it, if the graph takes so many, so that one that mixes rows shows.
    count = count or (4 if len(row) == 3 else 3)
    batch = np.stack([np.roll(row, 1 + at % max(1, len(row) - 1), axis=0) for at in range(count)])
    batch[count // 2] = row
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
