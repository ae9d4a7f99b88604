"""The recurrent layers among the named variables of Keras and TensorFlow."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from worker.model_import.found import UNKNOWN, Array, Found, Layer, Pass, Table
from worker.model_import.limits import check_layers
from worker.model_import.readers.passes import pass_of

#: TensorFlow adds these to the names of variables.
_SUFFIX = re.compile(r":\d+$")
_KERAS1 = re.compile(r"^(?P<cell>.*?)_?(?P<part>[WUb](_[ifcozrh])?)$")
#: The state of the random numbers of dropout.
_RANDOM = re.compile(r"seed_generator|random_generator|(^|/)StateVar")
_FORWARD, _BACKWARD = re.compile(r"^(forward|fw)(?=_|$)"), re.compile(r"^(backward|bw)(?=_|$)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A pass and its place in the file.

    Attributes:
        path: the common beginning of its arrays' names.
        one: the pass.
    """

    path: str
    one: Pass


def find_cells(arrays: Iterable[Array]) -> list[Cell]:
    """The recurrent passes among variables, in the order of their first arrays."""
    groups: dict[str, dict[str, Array]] = {}
    for array in arrays:
        path, _, part = _SUFFIX.sub("", array.name).rpartition("/")
        old = _KERAS1.match(part)
        if old:
            path, part = f"{path}/{old['cell']}".strip("/"), old["part"]
        elif part == "projection" or path.endswith(("/projection", "/gates", "/candidate")):
            path, _, middle = path.rpartition("/")  # TensorFlow 1: CELL/projection/kernel, CELL/gates/bias
            part = f"{middle}/{part}"
        groups.setdefault(path, {})[part] = array
    return [Cell(path, one) for path, parts in groups.items() if (one := pass_of(parts)) is not None]


def layers_of(cells: Iterable[Cell]) -> list[Layer]:
    """The layers of a file with only weights. A single pass named backward makes a layer that reads backward."""
    layers: dict[str, Layer] = {}
    for cell in cells:
        path, backward = _direction(cell.path)
        layer = layers.setdefault(path, Layer(_short(path), None, scope=path))
        if backward:
            layer.backward = cell.one
        else:
            layer.forward = cell.one
    times = Counter(layer.name for layer in layers.values())
    for path, layer in layers.items():
        layer.name = layer.name if times[layer.name] == 1 else path
        layer.problem = next((one.problem for one in layer.passes if one.problem), None)
    return list(layers.values())


def sort_weights(
    found: Found, layers: list[Layer], stored: list[Array], table_of: Callable[[Array], Table | None]
) -> None:
    """Sort the arrays of a file with only weights into layers, tables and the rest.

    Args:
        found: gets the layers, the tables, and the rest.
        layers: the recurrent layers among the arrays.
        stored: all arrays of the file.
        table_of: returns the embedding that an array is or could be, or None if it is something else. If several have
            one name, they get the names of their arrays.
    """
    check_layers(len(layers))
    found.matrix_axes = "inputs, outputs"
    found.layers = {layer.name: layer for layer in layers}
    used = {part.name for layer in layers for one in layer.passes for part in one.parts.values()}
    tables: list[Table] = []
    for array in stored:
        if array.name in used or _is_no_weight(array):
            continue
        table = table_of(array) if len(array.shape) == 2 and not array.dtype else None
        if table is None:
            found.rest.append(array)
        else:
            tables.append(table)
    times = Counter(table.name for table in tables)
    for table in tables:
        name = table.name if times[table.name] == 1 else table.array.name
        found.tables[name] = replace(table, name=name)


def _is_no_weight(array: Array) -> bool:
    """Whether it is a counter, or the state of random numbers."""
    return array.dtype not in ("", UNKNOWN) and (array.shape == () or _RANDOM.search(array.name) is not None)


def _direction(path: str) -> tuple[str, bool]:
    """The path of a pass's layer, and whether the pass reads backward.

    Two passes of a layer are siblings: …/forward_lstm/lstm_cell and …/backward_lstm/lstm_cell_1.
    """
    parts = path.split("/")
    for number, part in enumerate(parts):
        for pattern, backward in ((_FORWARD, False), (_BACKWARD, True)):
            if pattern.match(part):
                rest = pattern.sub("", part).strip("_")
                return "/".join([*parts[:number], *([rest] if number == 0 and rest else [])]), backward
    return path, False


def _short(path: str) -> str:
    """A layer's name: its cell's path without the parts that Keras and TensorFlow add."""
    parts = [part for part in path.split("/") if part not in ("cell", "vars", "layers", "cells", "stacked_rnn_cells")]
    if (
        len(parts) > 1
        and re.fullmatch(r"(lstm|gru)_cell(_\d+)?", parts[-1])
        and not re.fullmatch(r"rnn(_\d+)?", parts[-2])
    ):
        parts.pop()
    distinct = [part for number, part in enumerate(parts) if number == 0 or part != parts[number - 1]]
    return "/".join(distinct) or path
