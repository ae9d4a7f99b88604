"""Arrays of a file with only weights that are left over: which of them could be between the ids and the states.

Weights alone don't show how data flows. So each array that is left over must be beside the way by its shape or its
name; any other is a refusal, until the user says `--leave`. `way` judges which is which.
"""

# Over 150 lines: what is left over, and all that is said of it.

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found
from worker.model_import.selection.names import (
    advised,
    ends_with_head,
    is_of_a_module,
    may_be_table,
    module_of,
    scope_of,
)
from worker.model_import.selection.stack import Stack
from worker.model_import.selection.way import Way

_OPTIMIZER = re.compile(
    r"(^|[./])(optim(izer)?s?(_state(s)?|_weights)?|exp_avg(_sq)?|max_exp_avg_sq|momentum_buffer|square_avg)([./]|$)",
    re.IGNORECASE,
)
#: Of a model that Keras has compiled and fitted.
_METRIC = re.compile(r"metrics/.+/vars/\d+$")
#: How many arrays a refusal shows, and for how many it looks for the names that --leave takes.
_SHOWN, _ADVISED = 5, 200


def check_leftovers(found: Found, stack: Stack, leave: Iterable[str], named: Iterable[str]) -> None:
    """Check that no array that is left over could be between the ids and the states; name what is left.

    Args:
        found: a file with only weights; `left` gets the names of the arrays.
        stack: what will be imported.
        leave: names of arrays or modules that the user says are beside the way.
        named: the layers that the user named.

    Raises:
        ImportRefusedError: some array could be, or `leave` names nothing that is left over.
    """
    rest = [*found.rest, *(table.array for table in found.tables.values() if table is not stack.table)]
    is_left = _named(leave, rest, {name: table.array.name for name, table in found.tables.items()})
    table = None if stack.table is None else stack.table.array
    known = table.read() if table is not None and any(one.shape == table.shape for one in rest) else None
    unclear = []
    for array in rest:
        if array.name in is_left:
            found.left.append(f"{array.name} (--leave)")
        elif _OPTIMIZER.search(array.name):
            found.left.append(f"{array.name} (optimizer)")
        elif _METRIC.match(array.name):
            found.left.append(f"{array.name} (metric)")
        elif (
            known is not None and not array.dtype and array.shape == known.shape and np.array_equal(array.read(), known)
        ):
            found.left.append(f"{array.name} (tied to {table.name if table else ''})")
        elif _is_of_others(array.name, found, stack, named):
            found.left.append(f"{array.name} (beside a layer that isn't imported)")
        else:
            unclear.append(array)
            found.left.append(array.name)
    way = Way(found, stack, unclear, (one for one in rest if one.name in is_left))
    suspicious = way.suspicious()
    if suspicious:
        raise ImportRefusedError(_refusal(suspicious, stack, unclear, rest, found.matrix_axes))
    found.notes += [*_notes_of_other_inputs(way.beside()), *_notes_of_weights(way.weighing())]
    found.notes += _notes_of_tables(found, stack, unclear)
    found.notes += _notes_of_one_hot(way.before_the_first(), stack)


def _notes_of_tables(found: Found, stack: Stack, rest: list[Array]) -> list[str]:
    """A note on other tables of ids: their vectors may be added to those of the embedding, or be beside them."""
    left = {one.name for one in rest}
    others = [table.array for table in found.tables.values() if table is not stack.table and table.array.name in left]
    told = " ".join(found.notes)
    new = [one for one in others if f"{one.name} {one.shape}" not in told and _is_of_ids(one)]
    if not new or stack.table is None:
        return []
    uses = f"adds such vectors to those of {stack.table.name}, or joins them"
    return [f"left out: {_shown(new)}. {_compared_if(uses)}"]


def _compared_if(uses: str) -> str:
    """What to do if the source uses an array that is left out."""
    return (
        f"If the source {uses}, its states differ from those here: compare a few rows (unrolled model compare), or "
        "save the model with its graph (.keras, ONNX) and import that"
    )


def _is_of_ids(array: Array) -> bool:
    """Whether a matrix is called as embeddings are or, if it isn't as heads are, as a module's only array."""
    module, last = module_of(array.name)
    is_only = last in ("weight", "0", "embeddings", "embeddings:0") and module != "vars"  # of a Keras model itself
    return may_be_table(array.name, array.shape) or (is_only and not ends_with_head(array.name))


def _shown(arrays: list[Array]) -> str:
    more = f" and {len(arrays) - _SHOWN} more" if len(arrays) > _SHOWN else ""
    return ", ".join(f"{array.name} {array.shape}" for array in arrays[:_SHOWN]) + more


def _notes_of_one_hot(arrays: list[Array], stack: Stack) -> list[str]:
    reader = stack.layers[0].name if stack.table is None else stack.table.name
    order = "" if stack.table is None else " before the others"
    return [
        f"left out as a part of a head: {array.name} {array.shape}. By its shape, it could also make what {reader} "
        f"reads of one-hot vectors of other ids: then {advised('--fold', module_of(array.name)[0])}{order}, or "
        "NAME:tanh if a function follows it"
        for array in arrays
    ]


def _notes_of_other_inputs(arrays: list[Array]) -> list[str]:
    could = (
        "By their widths, they could also make the initial states of layers, or change what a layer reads, from other "
        "inputs of the model (an image, a speaker, a mask)"
    )
    return [_left_as_heads(arrays, could)] if arrays else []


def _notes_of_weights(arrays: list[Array]) -> list[str]:
    could = "By their shapes, they could also weigh what a layer reads (a gate, attention below it)"
    return [_left_as_heads(arrays, could)] if arrays else []


def _left_as_heads(arrays: list[Array], could: str) -> str:
    return f"left out as parts of a head: {_shown(arrays)}. {could}. {_compared_if('uses one so')}"


def _leavable(
    name: str, suspicious: list[str], unclear: list[Array], rest: list[Array], stack: Stack, axes: str
) -> str:
    """What --leave may name for an array: its module, if all in it belongs to what the refusal names, or the array."""
    module = module_of(name)[0]
    if name not in _within(module, rest):
        return name  # attn_w, where there is an attn.weight too
    modules = {module_of(one)[0] for one in suspicious}
    inside = {name, *_within(module, unclear)}
    others = [one for one in inside.difference(suspicious) if module_of(one)[0] not in modules]
    is_whole = not others and (inside <= {*suspicious} or all(is_of_a_module(one, axes) for one in inside))
    return module if is_whole and module not in stack.modules_around else name


def _refusal(
    suspicious: list[tuple[Array, str]], stack: Stack, unclear: list[Array], rest: list[Array], axes: str
) -> str:
    shown = "; ".join(f"{array.name} {array.shape} {why}" for array, why in suspicious[:_SHOWN])
    more = f"; and {len(suspicious) - _SHOWN} more" if len(suspicious) > _SHOWN else ""
    named = [array.name for array, _ in suspicious]
    leavable = dict.fromkeys(_leavable(name, named, unclear, rest, stack, axes) for name in named[:_ADVISED])
    options = advised("--leave", *[*leavable][:_SHOWN])
    options += " and so on" if len(leavable) > _SHOWN else ""
    source, below = ("vectors of the rows", "input") if stack.vectors else ("ids", "embedding")
    begun = _if_states([array.name for array, _ in suspicious if _may_be_states(array, stack, axes)][:_SHOWN])
    return (
        f"weights alone don't show how data flows, and these could be between the {source} and the states of "
        f"{stack.layers[-1].name}: {shown}{more}. If they aren't used there (a head, attention on top, a decoder): "
        f"{options}. If one is a Linear module between the {below} and the first layer: --fold NAME, or "
        f"--fold NAME:tanh if a function follows it.{begun} If they are used otherwise, weights alone can't be "
        "imported: save the model with its graph (.keras, ONNX) and import that"
    )


def _if_states(names: list[str]) -> str:
    """What to do if these arrays are the first states of layers; nothing if there are none."""
    if not names:
        return ""
    are, them = ("begins", "it") if len(names) == 1 else ("begin", "them")
    leave = advised("--leave", *names)
    return f" If {' and '.join(names)} {are} the layers' states: --initial-states {leave}, and each row brings {them}."


def _may_be_states(array: Array, stack: Stack, axes: str) -> bool:
    """Whether an array has the shape of the layers' first states, and isn't called as a module's arrays are."""
    return not is_of_a_module(array.name, axes) and has_shape_of_states(array, stack)


def has_shape_of_states(array: Array, stack: Stack) -> bool:
    """Whether an array may be the first states of layers by its shape, those of an LSTM's cells included."""
    passes = [one for layer in stack.layers for one in layer.passes]
    widths = {size for one in passes for size in (one.units, one.projection)}
    most = sum(2 if one.kind == "lstm" else 1 for one in passes)
    return bool(array.shape) and array.shape[-1] in widths and math.prod(array.shape[:-1]) <= most


def _named(leave: Iterable[str], rest: list[Array], tables: Mapping[str, str]) -> set[str]:
    """The names of the arrays that --leave names, by their own names or those of embeddings.

    Raises:
        ImportRefusedError: an option names none.
    """
    found = set()
    for name in leave:
        inside = _within(name, rest) or _within(tables.get(name, name), rest)
        if not inside:
            names = ", ".join(array.name for array in rest[:20]) or "nothing"
            raise ImportRefusedError(f"--leave {name}: no array that is left over has this name; left over: {names}")
        found |= inside
    return found


def _within(scope: str, rest: list[Array]) -> set[str]:
    """The names of the array of this name or, if none has it, of those in the module of this name.

    Names without any other separator have "_" in its place: fc_w is in fc, if nothing is in fc by a point.
    """
    found = {one.name for one in rest if one.name == scope}
    found = found or {one.name for one in rest if one.name.startswith((f"{scope}.", f"{scope}/"))}
    return found or {one.name for one in rest if one.name.startswith((f"{scope}_", f"{scope}:"))}


def _is_of_others(name: str, found: Found, stack: Stack, named: Iterable[str]) -> bool:
    """Whether the user named layers, and an array belongs to the scope of a layer that isn't among them."""
    if not named:
        return False
    taken = {scope_of(layer.name) for layer in stack.layers} | ({scope_of(stack.table.name)} if stack.table else set())
    chosen = {layer.name for layer in stack.layers}
    others = {scope_of(layer.name) for layer in found.layers.values() if layer.name not in chosen}
    return scope_of(name) in others - taken
