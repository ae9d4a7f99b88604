"""The recurrent modules and embeddings in a state dict, by the names of its tensors."""

# Over 150 lines: one reading of a state dict's names, with its reasons for refusing.

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from worker.model_import.found import Array, Found, Layer, Pass, Table
from worker.model_import.limits import check_layers
from worker.model_import.readers.passes import why_unread
from worker.model_import.selection.names import module_of, says_embedding

#: Names in nn.LSTM, nn.GRU and their cells. fastai's AWD-LSTM stores the weights before dropout as …_raw.
_PART = re.compile(
    r"^(?P<module>.*?)[._]?(?P<what>weight|bias|w|b)_(?P<side>ih|hh|hr)(_l(?P<number>\d+))?(?P<back>_reverse)?(?P<raw>_raw)?$"
)
#: What nn.LayerNorm adds to variances, if the program doesn't say otherwise.
_EPSILON = 1e-5
_NORMS = (
    "by its names, the layer-normalized LSTM of PyTorch's examples (custom_lstms.py): the next step reads the "
    "normalized cell state, and norms add 1e-5 to variances"
)
_ONE_BIAS = "{} has one bias, and PyTorch's own cells have two: if the file is a part of the model, get all of it"
#: The end of the names of nn.LSTM's and nn.GRU's arrays, which a cell's don't have.
_OF_NN = re.compile(r"(weight|bias)_(ih|hh)_l\d+(_reverse)?(_raw|_orig|_v|_g)?$")
_RAW = (
    "{} is imported: the weights before dropout, as fastai's AWD-LSTM stores them; an array of the same name without "
    "_raw is left out"
)
_SPECTRAL = (
    "its weights are computed from weight_orig and other vectors, as spectral norm stores them; save the model after "
    "torch.nn.utils.remove_spectral_norm"
)
#: Of a module.
IN_TWO_PARTS = (
    "its weights are in two parts, as weight norm stores them (weight_g and weight_v); save the model after "
    "torch.nn.utils.remove_weight_norm or remove_parametrizations"
)
_PARAMETRIZED = (
    "its weights are computed by a parametrization (torch.nn.utils.parametrize); save the model after "
    "torch.nn.utils.parametrize.remove_parametrizations"
)
_OF_KERAS = re.compile(r"(^|[./])recurrent_kernel(:0)?$")
_NONE = (
    "it contains no LSTM and no GRU under names that are read here (such as PyTorch's lstm.weight_ih_l0 and "
    "lstm.weight_hh_l0); other models can't be imported"
)
#: Weights that the program computes from other arrays, by their names, and how to save them.
_MADE = (
    (re.compile(r"weight_(ih|hh)(_l\d+)?(_reverse)?_orig$"), _SPECTRAL),
    (
        re.compile(r"(weight_(ih|hh)_l\d+(_reverse)?_[gv]|parametrizations\.weight_(ih|hh)_l\d+.*original[01])$"),
        IN_TWO_PARTS,
    ),
    (re.compile(r"parametrizations\.weight_(ih|hh).*original$"), _PARAMETRIZED),
)


def is_recurrent(name: str) -> bool:
    """Whether a tensor's name is that of a recurrent module's weight."""
    match = _PART.match(name)
    return match is not None and match["side"] != "hr" and match["what"] in ("weight", "w")


def find_modules(stored: Iterable[Array], format_: str) -> Found:
    """The recurrent modules and the embeddings of a state dict.

    Args:
        stored: all tensors of the state dict.
        format_: the file's format, for messages.
    """
    found = Found(format_, matrix_axes="outputs, inputs")
    modules, scopes, cells, rest = _sorted(_pruned(list(stored)))
    for module, passes in modules.items():
        rest = _take_norms(scopes[module], passes, rest)
    check_layers(sum(len(passes) for passes in modules.values()))
    made = [(array.name, why) for pattern, why in _MADE for array in rest if pattern.search(array.name)]
    for module, passes in modules.items():
        hidden = next((why for name, why in made if not module or name.startswith(module)), "")
        _add_module(found, module, scopes[module], passes, hidden)
    for module in cells & found.layers.keys():
        found.layers[module].is_cell = True
    if not modules:
        found.why_empty = made[0][1] if made else _why_none(rest)
    _add_tables(found, rest)
    return found


def is_of_keras(array: Array) -> bool:
    """Whether an array is called as the state's matrix of Keras's LSTM or GRU, and has its shape."""
    shape = array.shape
    return _OF_KERAS.search(array.name) is not None and len(shape) == 2 and shape[1] in (3 * shape[0], 4 * shape[0])


def _why_none(rest: list[Array]) -> str | None:
    """Why no array is a recurrent module's, of which a file of other names may have some."""
    keras = next((array.name for array in rest if is_of_keras(array)), None)
    if keras is not None:
        return (
            f"its arrays have Keras's names ({keras}), which are read from Keras's and TensorFlow's own files alone: "
            "save the model as .keras, or its weights with model.save_weights('model.weights.h5'), and import that"
        )
    return _NONE if rest else None


#: The arrays of each module, by layer and direction.
_Modules = dict[str, dict[tuple[int, bool], dict[str, Array]]]


def _sorted(stored: list[Array]) -> tuple[_Modules, dict[str, str], set[str], list[Array]]:
    """The recurrent modules, the beginnings of their arrays' names, those that are cells, and all other arrays."""
    modules: _Modules = {}
    scopes: dict[str, str] = {}
    cells: set[str] = set()
    raw: set[str] = set()
    rest: list[Array] = []
    for array in stored:
        match = _PART.match(array.name)
        if match is None:
            rest.append(array)
            continue
        module = match["module"].removesuffix(".module") or "rnn"
        scopes[module] = match["module"].removesuffix(".module")
        cells |= {module} if match["number"] is None and match["what"] == "weight" else set()
        part = ("w_" if match["what"] in ("weight", "w") else "b_") + match["side"]
        place = (int(match["number"] or 0), bool(match["back"]))
        parts = modules.setdefault(module, {}).setdefault(place, {})
        key = f"{module} {match['number']} {match['back']} {part}"
        if key not in raw:
            parts[part] = array
        if match["raw"]:
            raw.add(key)
    return modules, scopes, cells, rest


def _pruned(stored: list[Array]) -> list[Array]:
    """The arrays; in place of weights and their masks, their products, as torch.nn.utils.prune computes them."""
    by_name = {array.name: array for array in stored}

    def product(array: Array, mask: Array) -> Array:
        name = array.name.removesuffix("_orig")
        return replace(array, name=name, read=lambda: np.asarray(array.read() * mask.read(), np.float32))

    pairs = {
        name: mask
        for name, array in by_name.items()
        if name.endswith("_orig")
        and (mask := by_name.get(f"{name.removesuffix('_orig')}_mask")) is not None
        and mask.shape == array.shape
    }
    masks = {mask.name for mask in pairs.values()}
    return [
        product(array, pairs[array.name]) if array.name in pairs else array
        for array in stored
        if array.name not in masks
    ]


def _take_norms(scope: str, passes: dict[tuple[int, bool], dict[str, Array]], rest: list[Array]) -> list[Array]:
    """Move the norms of a module to its pass, if it is a layer-normalized LSTM; returns what is left."""
    prefix = f"{scope}." if scope else ""
    norms = {f"layernorm_{side}.{part}" for side in "ihc" for part in ("weight", "bias")}
    found = {name: array for array in rest if (name := array.name.removeprefix(prefix)) in norms}
    if len(passes) != 1 or found.keys() != norms:
        return rest
    (parts,) = passes.values()
    parts |= found
    return [array for array in rest if array not in found.values()]


def _add_module(
    found: Found,
    module: str,
    scope: str,
    passes: dict[tuple[int, bool], dict[str, Array]],
    why_made: str,
) -> None:
    numbers = sorted({number for number, _ in passes})
    below = None
    gap = _why_incomplete(passes) or _why_without_bias(passes)
    for number in numbers:
        name = f"{module}.{number}" if len(numbers) > 1 else module
        ahead, back = ((_pass(passes[number, side]) if (number, side) in passes else None) for side in (False, True))
        if isinstance(ahead, str) or isinstance(back, str):
            problem = why_made or (ahead if isinstance(ahead, str) else str(back))
            found.layers[name] = Layer(name, Pass("torch", "lstm", 1, 1, {}), problem=problem)
        else:
            both = [one for one in (ahead, back) if one is not None]
            notes = [_NORMS] if any(one.norm for one in both) else []
            halves = [one for one in both if not one.norm and ("b_ih" in one.parts) != ("b_hh" in one.parts)]
            notes += [_ONE_BIAS.format(name)] * bool(halves)
            notes += [
                _RAW.format(array.name) for one in both for array in one.parts.values() if array.name.endswith("_raw")
            ]
            found.layers[name] = Layer(name, ahead, back, below=below, scope=scope, notes=notes, problem=gap)
        below = name


def _why_incomplete(passes: Iterable[tuple[int, bool]]) -> str | None:
    """Why the passes of a module, by numbers of layers and directions, aren't all that it has; or None."""
    sides: dict[int, set[bool]] = {}
    for number, back in passes:
        sides.setdefault(number, set()).add(back)
    missing = next((number for number in range(len(sides)) if number not in sides), None)
    if missing is not None:
        return (
            f"its module has a layer {max(sides)}, but none {missing}: the file is a part of the model; get all of it"
        )
    if len({frozenset(one) for one in sides.values()}) > 1:
        return "its module has two directions in some layers only: the file is a part of the model; get all of it"
    return None


def _why_without_bias(passes: Mapping[tuple[int, bool], Mapping[str, Array]]) -> str | None:
    """Why the passes of a module lack a bias, by numbers of layers and directions; or None. All have the same ones.

    PyTorch's nn.LSTM and nn.GRU have both biases or none; a cell of another program may have one.
    """
    biases = {bias for parts in passes.values() for bias in ("b_ih", "b_hh") if bias in parts}
    names = [array.name for parts in passes.values() for array in parts.values()]
    if biases and any(_OF_NN.search(name) for name in names):
        biases = {"b_ih", "b_hh"}
    for (number, back), parts in sorted(passes.items()):
        for bias in sorted(biases - parts.keys(), reverse=True):
            name = f"bias_{bias[2:]}_l{number}{'_reverse' * back}"
            return f"its module has biases, but not {name}: the file is a part of the model; get all of it"
    return None


def _pass(parts: dict[str, Array]) -> Pass | str:
    """A pass, or the reason why these arrays are none."""
    unread = why_unread(parts.values())
    if unread is not None:
        return unread
    ih, hh = parts.get("w_ih"), parts.get("w_hh")
    matrices = [array for name, array in parts.items() if name.startswith("w_")]
    if ih is None or hh is None or any(len(array.shape) != 2 for array in matrices) or ih.shape[0] != hh.shape[0]:
        return (
            f"its weights {[(part.name, part.shape) for part in parts.values()]!s:.200} are not those of an LSTM or GRU"
        )
    projection = parts["w_hr"].shape[0] if "w_hr" in parts else None
    units = parts["w_hr"].shape[-1] if "w_hr" in parts else hh.shape[1]
    gates, over = divmod(hh.shape[0], max(units, 1))
    if over or gates not in (3, 4) or (projection is not None and hh.shape[1] != projection):
        plain = "it is a plain nn.RNN; only LSTM and GRU can be imported" if gates == 1 and not over else ""
        return plain or f"its weights {ih.shape} and {hh.shape} are not those of an LSTM or GRU"
    width = gates * units
    if any(parts[bias].shape != (width,) for bias in ("b_ih", "b_hh") if bias in parts):
        return f"its biases are not {width} long"
    if gates == 4:
        return _normalized(Pass("torch", "lstm", ih.shape[1], units, parts, projection))
    return Pass("torch", "gru", ih.shape[1], units, parts, reset="after")


def _normalized(one: Pass) -> Pass | str:
    """An LSTM with its norms, if it has them, or the reason why they don't fit."""
    norms = {name: array for name, array in one.parts.items() if name.startswith("layernorm_")}
    if not norms:
        return one
    lengths = {name: one.units * (1 if name.startswith("layernorm_c") else 4) for name in norms}
    if one.projection is not None or any(norms[name].shape != (length,) for name, length in lengths.items()):
        return "its norms don't fit its weights"
    return replace(one, norm="carried", epsilon=_EPSILON)


def _add_tables(found: Found, rest: list[Array]) -> None:
    """Add all matrices that could be embeddings: those without a bias beside them."""
    modules: dict[str, list[Array]] = {}
    for array in rest:
        modules.setdefault(module_of(array.name)[0], []).append(array)
    for array in rest:
        module, last = module_of(array.name)
        alone = not any(len(one.shape) == 1 and one.shape[0] in array.shape for one in modules[module])
        if len(array.shape) == 2 and not array.dtype and alone and last.lower() in (module.lower(), *_TABLES):
            found.tables[module] = Table(module, array, named=says_embedding(module, array.shape))
    taken = {table.array.name for table in found.tables.values()}
    found.rest = [array for array in rest if array.name not in taken]


#: Names of an embedding's matrix in its module.
_TABLES = ("weight", "w", "embedding", "embeddings", "emb", "table")
