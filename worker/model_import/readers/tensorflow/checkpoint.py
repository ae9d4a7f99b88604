"""TensorFlow's checkpoints: recurrent layers and embeddings by the names of the variables."""

# Over 150 lines: one reader of variables, and the search for layers among them.

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import chain, count, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unrolled.errors import counted
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import UNKNOWN, Array, Found, Layer, Pass, Table, as_float32
from worker.model_import.limits import check_array, check_count
from worker.model_import.readers.activations import set_gates
from worker.model_import.readers.cells import find_cells, layers_of, sort_weights
from worker.model_import.readers.order import natural
from worker.model_import.readers.tensorflow.object_graph import OBJECT_GRAPH, key_of, paths_of, read_object_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from worker.model_import.found import Float32

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_TABLE = re.compile(r"(^|/)[^/]*embedding[^/]*$|(^|/)embeddings?(/|$)", re.IGNORECASE)
#: The names of matrices by which a layer multiplies, adapters' too.
_KERNEL = re.compile(r"(^|[/_])kernel(_\w|_?\d+)?(:\d+)?$")
#: Names that may be such a matrix's, or an embedding's.
_MAYBE_KERNEL = re.compile(r"(^|[/_])kernel_[^/]*$")
#: The names of an optimizer's variables.
_OPTIMIZER = re.compile(
    r"(^|/)_?optimizers?(_\d+)?/|optimizer[^/]*/_(?!operations/|layers/|functional/)|OPTIMIZER_SLOT|^_all_variables/"
    r"|(^|/)beta[12]_power(_\d+)?$"
)
#: Keras 3's optimizers also have the model's variables, which a checkpoint may store under this name only.
_OF_MODEL = "/_trainable_variables/"
#: Names that are an optimizer's, or those of a part of the model. An optimizer's variables are copies by their shapes.
_MAYBE_OPTIMIZER = re.compile(r"optimizer|/Adam|/Momentum|/RMSProp|/Adagrad|/Ftrl")
_AVERAGE = "/ExponentialMovingAverage"
#: Keras 3's `export` lists the model's variables twice, the second time here.
_LISTED_AGAIN = "_all_variables/"


def read_checkpoint(path: Path, gates: str | None, forget_bias: float | None) -> Found:
    """Read a checkpoint.

    Args:
        path: its `.index` file, or its prefix.
        gates: the activation of the gates that the user says, or None.
        forget_bias: what the program adds to a TensorFlow 1 LSTM's forget gate; None for 1.0, its default.

    Raises:
        ImportRefusedError: TensorFlow isn't installed, or the file isn't a checkpoint.
    """
    variables = read_variables(path.with_suffix("") if path.suffix == ".index" else path)
    found = find_by_names(variables, "TensorFlow checkpoint", forget_bias)
    if gates is None:
        found.notes.append(
            "activations tanh and sigmoid (a checkpoint doesn't show them; these are TensorFlow's defaults)"
        )
    else:
        found.notes.append(set_gates(found.layers.values(), gates))
    return found


class Variables(NamedTuple):
    """The variables of a checkpoint.

    Attributes:
        arrays: those that the model may compute with, in the order of the numbers in their keys; with `dtype` if they
            have other numbers than floats.
        copies: the names of optimizers' variables and of moving averages.
        graph: the objects that have them, a TrackableObjectGraph; None if the checkpoint has none.
        reader: TensorFlow's.
        stored_bytes: the size of the files.
        names: of the arrays, by their keys.
        unclear: the name of a recurrent layer's variable whose scope several variables share, and that is in lists of
            variables alone; or None.
    """

    arrays: list[Array]
    copies: list[str]
    graph: Any
    reader: Any
    stored_bytes: int
    names: dict[str, str]
    unclear: str | None = None

    def of_object(self, names: Sequence[str]) -> Array | None:
        """The variable that an attribute of an object is; None if there is no float variable of this name.

        Args:
            names: of the attributes from the saved object to the variable.
        """
        key = None if self.graph is None else key_of(self.graph, names)
        shapes, kinds = self.reader.get_variable_to_shape_map(), self.reader.get_variable_to_dtype_map()
        if key is None or key not in shapes or not kinds[key].is_floating:
            return None
        shape = check_array(key, tuple(shapes[key]), 4, self.stored_bytes)
        return Array("/".join(names), shape, _reading(self.reader, key))


def read_variables(prefix: Path) -> Variables:
    """Read a checkpoint.

    Raises:
        ImportRefusedError: TensorFlow isn't installed, or the file isn't a checkpoint.
    """
    try:
        from worker.models.tensorflow import tf  # noqa: PLC0415 - TensorFlow takes seconds to import
    except ModuleNotFoundError as error:
        raise refuse_missing("TensorFlow", "tensorflow") from error
    if not prefix.with_name(f"{prefix.name}.index").exists():
        raise ImportRefusedError("can't be read (No such file or directory)")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        graph = read_object_graph(reader) if OBJECT_GRAPH in shapes else None
    except Exception as error:  # TensorFlow's own errors, by version
        raise ImportRefusedError(
            f"{prefix} can't be read as a checkpoint ({str(error)[:200]}); get a fresh copy"
        ) from error
    check_count(str(prefix), len(shapes))
    stored_bytes = sum(piece.stat().st_size for piece in prefix.parent.glob(f"{prefix.name}.data-*"))
    numbers = {key: shapes[key] for key in sorted(shapes, key=natural) if kinds[key] not in (tf.string, tf.variant)}
    copies = _copies(numbers)
    stored: dict[str, Array] = {}
    names_of: dict[str, str] = {}
    names, unclear = ({}, None) if graph is None else _full_names(graph, copies)
    times = Counter(names.get(key, key.removesuffix(_VALUE)) for key in numbers if key not in copies)
    for key in numbers:
        name = names.get(key, key.removesuffix(_VALUE))
        name = name if times[name] == 1 else key.removesuffix(_VALUE)
        if key not in copies:
            shape = check_array(key, tuple(shapes[key]), 4, stored_bytes)
            names_of[key] = name
            stored[name] = _array(name, shape, kinds[key], _reading(reader, key))
    left = [key.removesuffix(_VALUE) for key in copies]
    return Variables(list(stored.values()), left, graph, reader, stored_bytes, names_of, unclear)


def _array(name: str, shape: tuple[int, ...], kind: Any, read: Callable[[], Float32]) -> Array:
    if kind.is_floating:
        return Array(name, shape, read)
    if kind.is_integer or kind.is_bool:
        return Array(name, shape, read, kind.name)
    return Array(name, shape, lambda: np.zeros(shape, np.float32), UNKNOWN)


def _copies(shapes: Mapping[str, Sequence[int]]) -> dict[str, None]:
    """The keys of the variables that the model doesn't compute with, in their order.

    Args:
        shapes: the shapes of all variables that have numbers, by their keys.
    """
    sure, maybe = [], []
    for key in shapes:
        if _OF_MODEL in key:
            continue
        if _OPTIMIZER.search(key) or (key.endswith(_AVERAGE) and key.removesuffix(_AVERAGE) in shapes):
            sure.append(key)
        elif _MAYBE_OPTIMIZER.search(key):
            maybe.append(key)
    copied = {tuple(shapes[key]) for key in shapes.keys() - {*sure, *maybe}} | {()}
    found = {*sure, *(key for key in maybe if tuple(shapes[key]) in copied)}
    return {key: None for key in shapes if key in found}


def find_by_names(variables: Variables, format_: str, forget_bias: float | None) -> Found:
    """The layers and embeddings among variables.

    Args:
        variables: of the file.
        format_: the file's format, for messages.
        forget_bias: as in `read_checkpoint`.
    """
    layers = layers_of(find_cells(variables.arrays))
    above = _common_length([layer.name for layer in layers])
    for layer in layers:
        layer.name = layer.name[above:]
        layer.forward = layer.forward and _with_forget_bias(layer.forward, forget_bias)
        layer.backward = layer.backward and _with_forget_bias(layer.backward, forget_bias)
        layer.notes += [
            f"{one.forget_bias:g} is added to the forget gate's bias, as TensorFlow 1's cells do (--forget-bias)"
            for one in layer.passes
            if _adds_forget_bias(one)
        ]
    _name_the_nameless(layers)
    added = any(_adds_forget_bias(one) for layer in layers for one in layer.passes)
    leaves_open = frozenset({"--recurrent-activation", *(["--forget-bias"] if added else [])})
    found = Found(format_, zero_is_padding=True, leaves_open=leaves_open)
    biases = _biases(layers, variables.arrays)
    sort_weights(found, layers, variables.arrays, lambda array: _table_of(array, biases))
    found.tables = dict(sorted(found.tables.items(), key=lambda one: _is_doubtful(one[1].array, biases)))
    _note_copies(found, variables)
    if variables.unclear:
        found.why_empty = (
            f"several variables have the name {variables.unclear}, or another one of its scope, as in a model that is "
            "a class of its own, so the file doesn't show which belong to one layer. Save its weights "
            "(`model.save_weights`), or the model alone with `tf.saved_model.save(model, ...)`, and import that"
        )
    return found


def _name_the_nameless(layers: list[Layer]) -> None:
    """Call a layer whose variables have no scope, and so no layer's name, by its kind."""
    taken = {layer.name for layer in layers}
    for layer in layers:
        if not layer.name:
            kind = layer.any_pass.kind
            layer.name = next(name for name in chain([kind], (f"{kind}_{at}" for at in count(1))) if name not in taken)


def _biases(layers: list[Layer], arrays: list[Array]) -> set[tuple[str, int]]:
    """The scope and the length of each variable with one axis of floats that is of a module, but of no recurrent layer.

    Those of the model itself, in whose scope its recurrent layers have theirs, say nothing of the matrices beside them.
    A recurrent layer's own scope is the model's, too, if all matrices are in it.
    """
    used = {part.name for layer in layers for one in layer.passes for part in one.parts.values()}
    own = {_scope(name) for name in used}
    others = [one for one in arrays if not one.dtype and one.name not in used]
    matrices = [one.name for one in others if len(one.shape) == 2]
    beside = {(_scope(one.name), one.shape[0]) for one in others if len(one.shape) == 1}

    def is_models(scope: str) -> bool:
        return all(name.startswith(f"{scope}/") for name in (*used, *(matrices if scope in own else ())))

    return {(scope, length) for scope, length in beside if scope and not is_models(scope)}


def _table_of(array: Array, biases: Collection[tuple[str, int]]) -> Table | None:
    """The embedding that a matrix is, or that the user can name as one; None if it is a layer's.

    Args:
        array: the matrix.
        biases: from `_biases`.
    """
    if _TABLE.search(array.name):
        return Table(array.name, array)
    # One number for each row would be the bias of a head that is tied to the embedding.
    if _KERNEL.search(array.name) or (_scope(array.name), array.shape[-1]) in biases:
        return None
    return Table(array.name, array, named=False)


def _is_doubtful(array: Array, biases: Collection[tuple[str, int]]) -> bool:
    """Whether a matrix may be no embedding, so that others are advised first.

    A bias for each row may be that of a head, which is tied to the embedding or apart.
    """
    return bool(_MAYBE_KERNEL.search(array.name)) or (_scope(array.name), array.shape[0]) in biases


def _note_copies(found: Found, variables: Variables) -> None:
    """List the variables of optimizers and the moving averages as left, and note what the averages mean."""
    averages = [name for name in variables.copies if name.endswith(_AVERAGE)]
    others = [name for name in variables.copies if not name.endswith(_AVERAGE) and not name.startswith(_LISTED_AGAIN)]
    for what, names in (("optimizer", others), ("moving average", averages)):
        if names:
            found.left.append(f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''} ({what})")
    if averages:
        found.notes.append(
            f"the file also has moving averages of {counted(len(averages), 'variable')} ({averages[0]}), which many "
            "programs restore in place of the variables; the variables themselves are imported. If your program uses "
            "the averages, save a checkpoint in which they have the variables' names, and import that"
        )


def _adds_forget_bias(one: Pass) -> bool:
    return one.layout == "tf1" and one.kind == "lstm"


def _with_forget_bias(one: Pass, added: float | None) -> Pass:
    return one if added is None or not _adds_forget_bias(one) else replace(one, forget_bias=added)


def _reading(reader: Any, key: str) -> Callable[[], Float32]:
    def read() -> Float32:
        return as_float32(key, np.asarray(reader.get_tensor(key)))

    return read


def _full_names(graph: Any, copies: Collection[str]) -> tuple[dict[str, str], str | None]:
    """The names of variables (lstm/lstm_cell/kernel) by their keys, without names that two variables share.

    In a model that is a class of its own, Keras 3 gives all layers' variables the model's scope (sub/kernel). Then the
    paths of the objects are the names of all variables of the scope.

    Args:
        graph: the objects of the checkpoint.
        copies: keys of variables that don't count.

    Returns:
        The names; and one of a recurrent layer whose scope has such names, if it has no path.
    """
    named = {
        one.checkpoint_key: one.full_name
        for node in graph.nodes
        for one in node.attributes
        if one.full_name and one.checkpoint_key not in copies
    }
    times, paths = Counter(named.values()), paths_of(graph)
    shared = {_scope(name) for name, count in times.items() if count > 1}
    found = {key: name for key, name in named.items() if times[name] == 1}
    by_path = {key: paths[key] for key, name in named.items() if _scope(name) in shared and key in paths}
    unclear = next(
        (name for key, name in named.items()
         if name.endswith("/recurrent_kernel") and _scope(name) in shared and key not in paths),
        None,
    )  # fmt: skip
    found = {key: name for key, name in found.items() if key not in by_path}
    others = {_scope(name) for name in found.values()}  # which the variables of a path must not be mixed with
    return found | {key: path for key, path in by_path.items() if _scope(path) not in others}, unclear


def _scope(name: str) -> str:
    return name.rpartition("/")[0]


def _common_length(names: list[str]) -> int:
    """The number of characters of the scopes that all names begin with."""
    if len(names) < 2:
        return 0
    scopes = [name.split("/")[:-1] for name in names]
    shared = list(takewhile(lambda parts: len(set(parts)) == 1, zip(*scopes, strict=False)))
    return sum(len(parts[0]) + 1 for parts in shared)
