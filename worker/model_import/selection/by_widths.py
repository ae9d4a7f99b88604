"""The stack of a file with only weights: by names and widths, if they leave no choice."""

# Over 150 lines: one choice, and for each way in which it is open, what to name.

import re
from itertools import pairwise, permutations

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import UNKNOWN, Found, Layer, SavedGraph, Table
from worker.model_import.readers.order import natural
from worker.model_import.readers.passes import why_unread
from worker.model_import.readers.torch.modules import IN_TWO_PARTS
from worker.model_import.selection.linear import take_maps
from worker.model_import.selection.names import advised, family, may_be_table, names_of
from worker.model_import.selection.one_hot import table_of_product
from worker.model_import.selection.padding import check_length
from worker.model_import.selection.stack import ONE_HOT, Asked, Stack

#: The most layers of which every order is tried.
_MOST_ORDERED = 5
#: The types of quantized weights, in the words of the formats; and numbers that aren't known.
_EIGHT_BITS = ("int8", "uint8", "i8", "u8", "I8", "U8", UNKNOWN)
#: The matrix of the two arrays that weight norm makes of a module's weight, before and after PyTorch 2.
_OF_TWO_PARTS = re.compile(r"\.(weight_v|parametrizations\.weight\.original1)$")


def choose_by_widths(found: Found, asked: Asked) -> Stack:
    """Choose the named layers or, if none are named, all layers; and the embedding that they read.

    Arguments and errors are those of `choose`.
    """
    if asked.top is not None:
        raise ImportRefusedError(f"--top {asked.top}: weights alone don't show what is above a layer; leave it out")
    length = found.own.length if isinstance(found.own, SavedGraph) and found.own.is_sure else None
    check_length(asked.padding, length)
    layers = [found.layers[name] for name in asked.layers] or list(found.layers.values())
    for layer in layers:
        if layer.problem:
            raise ImportRefusedError(f"{layer.name}: {layer.problem}")
    if not asked.layers:
        _check_order(found, layers, asked)
    _check_whole_modules(layers)
    between = [f"{one.name} and {other.name}" for one, other in pairwise(layers) if other.below != one.name]
    if between:
        found.unproven.append(
            f"weights alone don't show whether a function, such as relu, is between {', '.join(between[:5])}"
            f"{', …' if len(between) > 5 else ''}"
        )
    maps = take_maps(found, asked.maps)
    reader, width = (maps[0].node.name, maps[0].inputs) if maps else (layers[0].name, layers[0].inputs)
    table = _table_for(found, reader, width, asked)
    nodes = tuple(one.node for one in maps)
    if asked.vectors:
        return Stack(None, layers, [False] * len(layers), vectors=True, below=nodes, length=length)
    if maps and table is None:  # one-hot vectors of ids times a matrix are its rows
        table, after = table_of_product(nodes[0], "rows")
        nodes = (after, *nodes[1:])
    return Stack(table, layers, [False] * len(layers), maps=nodes, length=length)


def _check_order(found: Found, layers: list[Layer], asked: Asked) -> None:
    """Check that each layer can only read the one before it."""
    proven = len({family(layer.name) for layer in layers}) == 1
    tables = {table.array.shape[1] for table in found.tables.values() if table.named}
    for before, layer in pairwise(layers):
        if layer.below != before.name:
            others = [one for one in layers if one is not layer and one.outputs == layer.inputs]
            proven = proven and others == [before] and layer.inputs not in tables
    if not proven:
        starts = set() if asked.maps or asked.one_hot or asked.vectors else tables
        order = _possible_order(layers, starts)
        stacked = advised("--layer", *(layer.name for layer in order))
        if_stacked = f": {stacked} if each reads the one before it," if order else ", such as"
        able = [layer for layer in order or layers if layer.below is None]
        first = next((layer for layer in able if layer.inputs in starts), layers[0])
        module, _, number = first.name.rpartition(".")
        is_stack = number == "0" and any(layer.below == first.name for layer in layers)
        alone = advised("--layer", module if is_stack and module else first.name)
        raise ImportRefusedError(
            f"it has the recurrent layers {names_of(found.layers)}, and weights alone don't show which of them read "
            f"each other; name those to take, from the first to the last{if_stacked} {alone} alone "
            f"if no other reads it{_and_embedding(found, first, asked)}"
        )


def _possible_order(layers: list[Layer], starts: set[int]) -> tuple[Layer, ...]:
    """The first order in which each layer can read the one before it, by their widths; empty if there is none.

    Args:
        layers: the layers.
        starts: widths of which one is the first layer's input; empty for any.
    """
    # Of many, only that of their names: lstm_2 comes before lstm_10.
    in_order = sorted(layers, key=lambda layer: natural(layer.name))
    for order in permutations(layers) if len(layers) <= _MOST_ORDERED else [tuple(in_order)]:
        fits = all(
            before.outputs == layer.inputs and layer.below in (None, before.name) for before, layer in pairwise(order)
        )
        if fits and order[0].below is None and (not starts or order[0].inputs in starts):
            return order
    return ()


def _and_embedding(found: Found, layer: Layer, asked: Asked) -> str:
    """The embeddings of which one must be named too, if that is so: one refusal then says all that is needed."""
    if asked.embedding is not None or asked.one_hot or asked.vectors or asked.maps:
        return ""
    named = _named_tables(found, layer.name, layer.inputs)
    if len(named) < 2:
        return ""
    names, others = names_of(table.name for table in named), "the others with --leave NAME if no layer reads them"
    return f"; name one of the embeddings {names} too: --embedding NAME, and {others}"


def _check_whole_modules(layers: list[Layer]) -> None:
    """Check that no layer is taken without the one that it certainly reads."""
    for before, layer in zip([None, *layers], layers, strict=False):
        if layer.below is not None and (before is None or before.name != layer.below):
            raise ImportRefusedError(
                f"{layer.name} reads {layer.below}; name that too: {advised('--layer', layer.below, layer.name)}"
            )


def _table_for(found: Found, reader: str, width: int, asked: Asked) -> Table | None:
    """The embedding that a layer reads, whose vectors have this width; None if it reads other vectors."""
    if asked.embedding is not None:
        return found.tables[asked.embedding]
    if asked.one_hot or asked.vectors:
        return None
    fitting = [table for table in found.tables.values() if table.array.shape[1] == width]
    named = _named_tables(found, reader, width)
    if len(named) == 1:
        return named[0]
    names = ", ".join(f"{table.name} {table.array.shape}" for table in (named or fitting)[:5])
    if named:
        raise ImportRefusedError(
            f"it has the embeddings {names}, all of the width that {reader} reads; say which: --embedding NAME"
        )
    wide = ", ".join(f"{table.name} ({table.array.shape[1]} wide)" for table in found.tables.values() if table.named)
    if wide and asked.maps:
        raise ImportRefusedError(
            f"{reader} reads vectors {width} wide, but the embeddings are {wide}, and --fold is for a module between "
            "the embedding and the first layer; leave it out"
        )
    if wide:
        raise ImportRefusedError(
            f"{reader} reads vectors {width} wide, but the embeddings are {wide}. If a Linear module is between them: "
            "--fold NAME, or --fold NAME:tanh if a function follows it. If the program joins several vectors of a "
            "token, such as of its word and its place, give rows of the joined vectors: --vectors"
        )
    hint = f" If {names} is its embedding: {advised('--embedding', fitting[0].name)}." if fitting else ""
    _refuse_quantized(found, reader, width, hint)
    parts = [one.name for one in found.rest if _OF_TWO_PARTS.search(one.name) and one.shape[1:] == (width,)]
    if parts and not hint:
        name = _OF_TWO_PARTS.sub("", parts[0])
        raise ImportRefusedError(
            f"{reader} reads vectors {width} wide, and {name} may be its embedding, but {IN_TWO_PARTS}. {ONE_HOT}"
        )
    raise ImportRefusedError(
        f"{reader} reads vectors {width} wide, and nothing in the file says what they are.{hint} {ONE_HOT}"
    )


def _refuse_quantized(found: Found, reader: str, width: int, hint: str) -> None:
    """Name a matrix of 8-bit numbers that may be the embedding, first one whose name says that it is.

    Args:
        found: a file with only weights.
        reader: the layer that reads the embedding's vectors.
        width: of these.
        hint: what to do if a matrix of floats is that embedding; empty if none can be. Beside such a one, a matrix of 8
            bits is named only if both its name and its width are right.

    Raises:
        ImportRefusedError: there is one.
    """
    small = [one for one in found.rest if one.dtype in _EIGHT_BITS and len(one.shape) == 2 and one.shape[0] > 1]
    called = [one for one in small if may_be_table(one.name, one.shape) or "embedding" in one.name]
    wide = [one for one in small if one.shape[1] == width]
    array = next((one for one in called if one in wide), None) if hint else next(iter([*called, *wide]), None)
    if array is not None:
        unless = "none of these is" if hint else "it isn't"
        raise ImportRefusedError(
            f"{reader} reads vectors {width} wide, and {array.name} {array.shape} may be its embedding, but "
            f"{why_unread([array])}.{hint} Only if {unless} the embedding, and "
            "the vectors are ids as one-hot vectors: --one-hot; or if rows contain the vectors: --vectors"
        )


def _named_tables(found: Found, reader: str, width: int) -> list[Table]:
    """The embeddings by name that a layer may read, whose vectors have this width; of equal ones, the first."""
    named = [table for table in found.tables.values() if table.named and table.array.shape[1] == width]
    kin = [table for table in named if family(table.name).split()[:1] == family(reader).split()[:1]]
    if len(kin) == 1:
        return kin
    first = named[:1]
    # A program may keep an embedding twice, as AWD-LSTM does around its dropout.
    return first if all(_are_equal(first[0], other) for other in named[1:]) else named


def _are_equal(one: Table, other: Table) -> bool:
    """Whether two embeddings have the same numbers, so that it doesn't matter which of them is read."""
    if (one.array.shape, one.array.dtype, one.mask_zero) != (other.array.shape, other.array.dtype, other.mask_zero):
        return False
    return np.array_equal(one.array.read(), other.array.read())
