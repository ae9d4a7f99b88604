"""Linear modules that the user says are between the embedding and the first layer of a file with only weights."""

from dataclasses import dataclass

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found, Node
from worker.model_import.selection.names import module_of, names_of
from worker.model_import.token_maps import ACTIVATIONS, Dense


@dataclass(frozen=True, slots=True)
class Linear:
    """A Linear module and the function that follows it.

    Attributes:
        node: as a graph would have it.
        inputs: width of the vectors that it reads.
    """

    node: Node
    inputs: int


def take_maps(found: Found, asked: tuple[str, ...]) -> list[Linear]:
    """Take the modules out of the arrays that are left over, in the order of `asked`.

    Args:
        found: a file with only weights; `rest` and `tables` lose the arrays of the modules.
        asked: names of modules, each with ":" and the name of a function, if one follows.

    Raises:
        ImportRefusedError: a module or a function isn't known.
    """
    return [_take(found, *one.partition(":")[::2]) for one in asked]


def _take(found: Found, name: str, function: str) -> Linear:
    function = function or "linear"
    if function not in ACTIVATIONS:
        raise ImportRefusedError(
            f"--fold {name}:{function}: there is no such function; known are {names_of(ACTIVATIONS)}"
        )
    # Without a bias it was taken for a table.
    arrays = [*found.rest, *(table.array for table in found.tables.values())]
    parts = [array for array in arrays if module_of(array.name)[0] == name]
    matrices = [array for array in parts if len(array.shape) == 2]
    biases = [array for array in parts if len(array.shape) == 1]
    if len(matrices) != 1 or len(biases) > 1 or len(parts) > 2 or any(array.dtype for array in parts):
        if parts:
            shown = names_of(array.name for array in parts)
            raise ImportRefusedError(
                f"--fold {name}: {shown} aren't the weight and the bias of one Linear module. If its weight is made of "
                "several arrays (weight norm, parametrizations), remove that in PyTorch, and save the model again"
            )
        known = names_of(dict.fromkeys(module_of(array.name)[0] for array in arrays if len(array.shape) == 2))
        raise ImportRefusedError(f"--fold {name}: there is no Linear module of this name; left over are {known}")
    turned = found.matrix_axes != "inputs, outputs"
    outputs, inputs = matrices[0].shape if turned else matrices[0].shape[::-1]
    bias: Array | None = next(iter(biases), None)
    if bias is not None and bias.shape != (outputs,):
        raise ImportRefusedError(f"--fold {name}: its bias {bias.shape} doesn't fit its matrix {matrices[0].shape}")
    used = {array.name for array in parts}
    found.rest = [array for array in found.rest if array.name not in used]
    found.tables = {key: table for key, table in found.tables.items() if table.array.name not in used}
    what = "Linear" if function == "linear" else f"Linear, {function}"
    return Linear(Node(name, "map", what, map=Dense(matrices[0], bias, function, turned)), inputs)
