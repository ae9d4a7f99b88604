"""The recurrent modules and embeddings in a state dict, by the names of its tensors."""

import re
from collections.abc import Iterable

from worker.model_import.found import Array, Found, Layer, Pass, Table

#: Names in nn.LSTM, nn.GRU and their cells. fastai's AWD-LSTM stores the weights before dropout as …_raw.
_PART = re.compile(
    r"^(?P<module>.*?)[._]?(?P<what>weight|bias|w|b)_(?P<side>ih|hh|hr)(_l(?P<number>\d+))?(?P<back>_reverse)?(?P<raw>_raw)?$"
)
_EMBEDDING = re.compile(r"emb|wte|lookup|token|word|char|vocab", re.IGNORECASE)


def find_modules(stored: Iterable[Array], format_: str) -> Found:
    """The recurrent modules and the embeddings of a state dict.

    Args:
        stored: all tensors of the state dict.
        format_: the file's format, for messages.
    """
    found = Found(format_)
    modules: dict[str, dict[tuple[int, bool], dict[str, Array]]] = {}
    raw: set[str] = set()
    rest = []
    for array in stored:
        match = _PART.match(array.name)
        if match is None:
            rest.append(array)
            continue
        module = match["module"].removesuffix(".module") or "rnn"
        part = ("w_" if match["what"] in ("weight", "w") else "b_") + match["side"]
        place = (int(match["number"] or 0), bool(match["back"]))
        parts = modules.setdefault(module, {}).setdefault(place, {})
        key = f"{module} {match['number']} {match['back']} {part}"
        if key not in raw:
            parts[part] = array
        if match["raw"]:
            raw.add(key)
    for module, passes in modules.items():
        _add_module(found, module, passes)
    _add_tables(found, rest)
    return found


def _add_module(found: Found, module: str, passes: dict[tuple[int, bool], dict[str, Array]]) -> None:
    numbers = sorted({number for number, _ in passes})
    for number in numbers:
        name = f"{module}.{number}" if len(numbers) > 1 else module
        ahead, back = ((_pass(passes[number, side]) if (number, side) in passes else None) for side in (False, True))
        if isinstance(ahead, str) or isinstance(back, str):
            problem = ahead if isinstance(ahead, str) else str(back)
            found.layers[name] = Layer(name, Pass("torch", "lstm", 1, 1, {}), problem=problem)
        else:
            found.layers[name] = Layer(name, ahead, back)


def _pass(parts: dict[str, Array]) -> Pass | str:
    """A pass, or the reason why these arrays are none."""
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
        return Pass("torch", "lstm", ih.shape[1], units, parts, projection)
    return Pass("torch", "gru", ih.shape[1], units, parts, reset="after")


def _add_tables(found: Found, rest: list[Array]) -> None:
    """Add the embeddings: matrices without a bias beside them, and only those with telling names if there are any."""
    names = {array.name for array in rest}
    matrices = {}
    for array in rest:
        module, _, last = array.name.rpartition(".")
        is_matrix = len(array.shape) == 2 and (last == "weight" or not module)
        if is_matrix and f"{module}.bias" not in names:
            matrices[module or array.name] = array
    named = {name: array for name, array in matrices.items() if _EMBEDDING.search(name)}
    widths = {layer.inputs for layer in found.layers.values()}
    tables = named or {
        name: array for name, array in matrices.items() if array.shape[1] in widths and name.count(".") == 0
    }
    found.tables = {name: Table(name, array) for name, array in tables.items()}
    taken = {array.name for array in tables.values()}
    found.left = [array.name for array in rest if array.name not in taken]
