"""Conversion of a stack of layers to the configuration and the tensors of a model directory."""

# Over 150 lines: one conversion, in the order of its steps.

from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import xor

import numpy as np

from unrolled.errors import counted
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding
from unrolled.model.token_map import MapConfig
from worker.model_import.errors import ImportRefusedError, damage_named
from worker.model_import.first_id import decide_first_id
from worker.model_import.found import Alphabet, Float32, Found, Layer
from worker.model_import.layouts import convert
from worker.model_import.selection.initial_states import ZEROS, starts_of
from worker.model_import.selection.names import advised
from worker.model_import.selection.padding import describe_padding, settle_padding
from worker.model_import.selection.stack import AskedPadding, Stack
from worker.model_import.selection.steps import Part, parts_of
from worker.model_import.token_maps import apply_maps

#: The model's max_length if neither the file nor the user says how long rows are, in tokens.
DEFAULT_LENGTH = 512
_ROUNDS = ". The file's own runtime also rounds the vectors that layers read to 8 bits, so its outputs differ a little"

_TURNED = "reads from the last token; its outputs are stored beside their tokens, in the row's order"
#: Where padding changes the vectors of a model that reads from the first token.
_FORWARD = " before their tokens, or it uses their last state alone"


@dataclass(slots=True)
class Assembled:
    """A model that is ready to be saved.

    Attributes:
        config: its configuration.
        weights: its tensors, by the configuration's names.
        ids_from: 1 if ids are the source's; 0 if they are the source's plus one.
        ids_reason: why, for the user.
        names: of each layer, its name in the source.
        taken: what was imported, one text each.
        left: what was left out, one text each.
        notes: remarks for the user.
        padding: how the source's program pads rows, in the model's ids, also if the model leaves it out because it
            changes nothing; None if it doesn't, or the user doesn't say.
    """

    config: ModelConfig
    weights: dict[str, Float32]
    ids_from: int
    ids_reason: str
    names: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    padding: Padding | None = None


def assemble(
    found: Found, stack: Stack, ids_from: int | None, max_length: int | None, padding: AskedPadding | None = None
) -> Assembled:
    """Read the arrays of the chosen layers and convert them.

    Args:
        found: the content of the file.
        stack: the layers to import.
        ids_from: 0 or 1, or None to decide.
        max_length: tokens that a row is meant to have, or None for the file's length, or 512.
        padding: how the source's program pads rows, if the user says that it computes padding.

    Raises:
        ImportRefusedError: the directions don't fit together, or an array can't be read.
        ModelError: the configuration isn't allowed.
    """
    # Over 40 lines: half of it is the description of its arguments.
    with damage_named("a layer above a recurrent one"):
        parts = parts_of(stack.chain)
    layers, passes = _directions(stack, parts)
    table = None
    if stack.table is not None:
        with damage_named(stack.table.name):
            table = stack.table.array.read()
    start, reason = decide_first_id(found, stack.table, table, ids_from, counts_others=stack.masks_zero)
    length = max_length or stack.length or DEFAULT_LENGTH
    if stack.vectors:
        made = _of_vectors(stack, tuple(layers), passes, parts, length)
        made.notes += found.notes
        _describe(made, found, stack, parts)
        return made
    rows = stack.layers[0].inputs if table is None else len(table)
    if stack.table is not None and not rows:
        raise ImportRefusedError(f"{stack.table.name}: has no row; name another embedding, or get a fresh copy")
    if rows - start < 1:
        raise ImportRefusedError(
            f"with --ids-from {start} none of the {rows} rows is left for an id; try --ids-from {1 - start}"
        )
    if table is not None:
        _check_hidden(stack, table, start)
        table = _changed(stack, table)
    config = ModelConfig(rows - start, length, None if table is None else table.shape[1], tuple(layers))
    weights = _tensors(config, passes, parts)
    if table is None:
        _drop_first_row(config, weights, start)
    else:
        weights["embedding"] = table if start else np.concatenate([np.zeros_like(table[:1]), table])
    made = Assembled(config, weights, start, reason, [part.name for part in parts], notes=[*found.notes])
    _describe(made, found, stack, parts)
    if padding is not None:
        one_hot = table is None and any(node.role == "onehot" for node in (found.graph or {}).values())
        of_rows = stack.table is not None and stack.table.one_hot == "rows"
        _pad(made, padding, max_length, vectors=of_rows or (table is None and not one_hot))
    elif stack.computes_padding:
        forward = {layer.direction for layer in made.config.recurrent_layers} == {"forward"}
        made.notes.append(
            "the source doesn't mask padding"
            + (" in all of its layers" if stack.masks_partly else "")
            + f": where its rows are padded{_FORWARD if forward else ''}, its vectors depend on the "
            "padding. Rows have the vectors here that they "
            + ("have without padding" if stack.masks_partly else "have without padding; --pad computes padding, too")
        )
    return made


def _of_vectors(
    stack: Stack, layers: tuple[LayerConfig | MapConfig, ...], passes: list[Layer], parts: list[Part], length: int
) -> Assembled:
    """A model whose rows contain vectors. Ids number them from 1."""
    mask = stack.hidden[0] if stack.hidden and not stack.computes_padding else None
    config = ModelConfig(0, length, None, layers, vector_dim=stack.input_dim, mask_value=mask)
    made = Assembled(config, _tensors(config, passes, parts), 1, "--vectors", [part.name for part in parts])
    if stack.computes_padding:
        made.notes.append(
            f"no row may contain a vector that has only {stack.hidden[0]:g}: the source changes what it reads there"
            if any(stack.hidden) or (stack.hidden and stack.masks_partly)
            else "the source masks no padding: where its program pads rows, put its vectors of padding into yours, too"
        )
    return made


def _pad(made: Assembled, asked: AskedPadding, max_length: int | None, *, vectors: bool) -> None:
    """Put padding into the configuration, unless it changes no vector of a token."""
    padding = made.padding = settle_padding(asked, made.config, made.ids_from, vectors=vectors)
    matters = padding.matters({layer.direction for layer in made.config.recurrent_layers})
    if matters:
        if max_length not in (None, padding.length):
            raise ImportRefusedError(f"--max-length {max_length}: rows are padded to {padding.length}; leave it out")
        made.config = replace(made.config, max_length=padding.length, padding=padding)
    (made.taken if matters else made.notes).append(describe_padding(padding, asked, matters=matters))


def _changed(stack: Stack, table: Float32) -> Float32:
    """The embedding with what the model does to each token's vector before the first layer reads it."""
    if not stack.maps:
        return table
    first = stack.layers[0]
    what = ", ".join(map(str, stack.maps))
    try:
        with damage_named(what):
            made = apply_maps(table, stack.functions)
    except MemoryError as error:
        raise ImportRefusedError(f"{what}: the vectors of all {len(table):,} ids don't fit into memory") from error
    if made.ndim != 2 or made.shape[1] != first.inputs:
        raise ImportRefusedError(
            f"{what}: makes vectors of shape {made.shape}, but {first.name} reads {first.inputs} numbers"
        )
    return made


def _check_hidden(stack: Stack, table: Float32, start: int) -> None:
    """Check that the source's Masking hides no token."""
    for number in stack.hidden:
        skipped = np.flatnonzero((table[start:] == number).all(axis=1)) + start
        if len(skipped):
            raise ImportRefusedError(
                f"Masking(mask_value={number:g}) hides tokens whose vectors consist of {number:g}: ids "
                f"{', '.join(map(str, skipped[:10]))}. Unrolled would compute them; leave them out of rows, and import "
                "a model whose mask is the embedding's (mask_zero=True)"
            )


def _directions(stack: Stack, parts: list[Part]) -> tuple[list[LayerConfig | MapConfig], list[Layer]]:
    """Each layer's configuration, and the recurrent layers with their passes in the row's order.

    A reversed layer returns the last token's output first, so the next layer reads the row from its end.
    """
    # Over 40 lines: the reasons why a layer that reads in another order can't follow.
    configs: list[LayerConfig | MapConfig] = []
    layers = []
    turned = False
    for part in parts:
        layer, residual, span = part.layer, part.span > 0, max(part.span, 1)
        if part.map is not None:
            if residual and any(one.reversed for one in stack.layers):
                raise ImportRefusedError(
                    f"{part.name}: it is added to another output, and a layer with go_backwards turns the order of "
                    "outputs; such a sum can't be imported"
                )
            configs.append(replace(part.map.config, residual=residual, span=span))
        if layer is None:
            continue
        both = len(layer.passes) > 1
        if turned and (both or residual):
            raise ImportRefusedError(
                f"{layer.name}: it follows a layer with go_backwards, so it reads a row from its end, and it is "
                f"{'bidirectional' if both else 'added to its input'}; only a plain layer can follow such a layer"
            )
        if residual and layer.reversed:
            raise ImportRefusedError(
                f"{layer.name}: with go_backwards its output is in the opposite order of its input, and the model adds "
                "the two; such a sum can't be imported"
            )
        ahead, back = (layer.backward, layer.forward) if turned else (layer.forward, layer.backward)
        direction = "bidirectional" if both else "forward" if ahead is not None else "backward"
        one = layer.any_pass
        configs.append(
            LayerConfig(
                *(one.units, one.kind, direction, one.projection),
                residual=residual,
                span=span,
                reset=one.reset,
                gates=one.gates,
                first_state=bool(one.first),
                given_state=layer.given_state,
                norm=one.norm,
                epsilon=one.epsilon,
                cell_clip=stack.clips[0] if one.clips[0] is None else one.clips[0],
                projection_clip=stack.clips[1] if one.clips[1] is None else one.clips[1],
            )
        )
        layers.append(Layer(layer.name, ahead, back))
        turned ^= layer.reversed
    return configs, layers


def _tensors(config: ModelConfig, layers: list[Layer], parts: list[Part]) -> dict[str, Float32]:
    weights: dict[str, Float32] = {}
    recurrent = iter(layers)
    for number, (part, description) in enumerate(zip(parts, config.layers, strict=True)):
        if part.map is not None:
            (prefix,) = description.prefixes(number)
            made = {f"{prefix}.{name}": np.asarray(array, np.float32) for name, array in part.map.tensors.items()}
            weights |= {name: np.ascontiguousarray(array) for name, array in made.items()}
            continue
        layer = next(recurrent)
        for one, prefix in zip(layer.passes, description.prefixes(number), strict=True):
            with damage_named(layer.name):
                made = convert(one)
            weights |= {f"{prefix}.{part}": array for part, array in made.items()}
    return weights


def _drop_first_row(config: ModelConfig, weights: dict[str, Float32], start: int) -> None:
    """Drop row 0 of the first kernels, if one-hot ids start at 1: that row belongs to padding."""
    if start:
        names = [f"{prefix}.{part}" for prefix in config.layers[0].prefixes(0) for part in ("kernel", "input_factor")]
        for name in weights.keys() & names:
            weights[name] = np.ascontiguousarray(weights[name][start:])


def _describe(made: Assembled, found: Found, stack: Stack, parts: list[Part]) -> None:
    """Fill in what was imported and what was left out."""
    if stack.vectors:
        hidden = made.config.mask_value
        masked = "" if hidden is None else f"; a vector that has only {hidden:g} is padding"
        made.taken.append(
            f"no embedding: rows contain vectors of {counted(made.config.vector_dim or 0, 'number')}{masked}"
        )
    elif stack.table is None:
        made.taken.append(f"no embedding: ids are read as one-hot vectors of {stack.layers[0].inputs}")
    else:
        rows, width = stack.table.array.shape
        made.taken.append(stack.table.label or f"{stack.table.name}: embedding of {rows:,} rows, {width} wide")
        made.taken += [f"{node}: computed once for each id, as a part of the embedding" for node in stack.maps]
    for part, config in zip(parts, made.config.layers, strict=True):
        made.taken.append(f"{part.name}: {config}")
    if made.config.given_dim:
        made.taken.append(_describe_states(made.config, stack))
    made.notes += _differences(stack, parts)
    if found.alphabet is not None:
        made.taken.append(_describe_alphabet(found.alphabet))
    if found.words is not None:
        made.taken.append(f"tokenizer: {found.words.description}")
    names = {layer.name for layer in stack.layers}
    if found.graph is not None:  # of weights alone, each array that is left over has been named
        made.left += [f"{table.name} (embedding)" for table in found.tables.values() if table is not stack.table]
        taken = {node.name for node in (*stack.maps, *(one for part in parts for one in part.nodes))}
        taken |= stack.sums
        others = [node for node in found.graph.values() if node.role in ("add", "map") and node.name not in taken]
        made.left += map(str, others)
    made.left += [f"{layer.name} (recurrent layer)" for layer in found.layers.values() if layer.name not in names]
    made.left += found.left


def _describe_states(config: ModelConfig, stack: Stack) -> str:
    sources = {"": "", ZEROS: ", which is zero in the source: give zeros"}
    states = [
        f"{part}{sources.get(name, f', from {name}')}"
        for part, (name, _) in zip(config.given_parts, starts_of(stack.layers), strict=True)
    ]
    return f"initial states: each row brings {config.given_dim:,} numbers, {'; '.join(states)}"


def _differences(stack: Stack, parts: list[Part]) -> list[str]:
    """Where the imported model isn't what the source's program computes, for the user."""
    notes = [f"{layer.name}: {note}" for layer in stack.layers for note in layer.notes]
    turned = accumulate((layer.reversed for layer in stack.layers), xor)
    notes += [f"{layer.name}: {_TURNED}" for layer, is_turned in zip(stack.layers, turned, strict=True) if is_turned]
    if stack.joined:
        notes.append(
            f"the vectors are those of {stack.sum or parts[-1].name}, before {', '.join(map(str, stack.joined))}, "
            "where the source joins them with other vectors"
            + (f". For the vectors of the sum: {advised('--top', stack.tops[0])}" if len(stack.tops) == 1 else "")
        )
    if stack.quantized:
        notes.append(
            "the file has weights as 8-bit integers; they are computed as the numbers that they mean, in float32"
            + ("" if stack.quantized == "weights" else _ROUNDS)
        )
    if stack.precision:
        notes.append(
            f"the source computes in {stack.precision}, and its outputs differ a little: here it is computed in float32"
        )
    return notes


def _describe_alphabet(alphabet: Alphabet) -> str:
    if alphabet.description:
        return f"tokenizer: {alphabet.description}"
    added = f"{alphabet.before!r} is put before each text and {alphabet.after!r} after it"
    return f"tokenizer: the file's {len(alphabet.index):,} characters; {added}"
