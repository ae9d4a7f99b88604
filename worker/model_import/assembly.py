"""From a chain of layers to a model directory's configuration and tensors."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from worker.model_import.chain.chain import Chain
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Float32, Found, Layer, Table
from worker.model_import.layouts import convert

#: Where neither the file nor its user says how long rows are.
DEFAULT_LENGTH = 512


@dataclass(slots=True)
class Assembled:
    """A model, ready to be saved.

    Attributes:
        config: its configuration.
        weights: its tensors, as the configuration names them.
        ids_from: 1: ids are the source's; 0: they are the source's plus one.
        ids_reason: why, for people.
        taken: what was taken over, one text each.
        left: what wasn't.
        notes: what people should know.
    """

    config: ModelConfig
    weights: dict[str, Float32]
    ids_from: int
    ids_reason: str
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def assemble(found: Found, chain: Chain, ids_from: int | None, max_length: int | None) -> Assembled:
    """Read the arrays of what was chosen and lay them out.

    Args:
        found: what the file has.
        chain: what is taken of it.
        ids_from: 0 or 1, or None: decide.
        max_length: tokens a row is meant to have, or None: the file's, else 512.

    Raises:
        ImportRefusedError: directions don't fit together, or a layer has no place here.
    """
    layers, passes = _directions(chain)
    table = None
    if chain.table is not None:
        with _damage_named(chain.table.name):
            table = chain.table.array.read()
    start, reason = _ids_from(found, chain.table, table, ids_from)
    rows = chain.layers[0].inputs if table is None else len(table)
    if rows - start < 1:
        raise ImportRefusedError(f"with --ids-from {start} no id is left of {rows} rows; give the other")
    length = max_length or found.length or DEFAULT_LENGTH
    try:
        config = ModelConfig(rows - start, length, None if table is None else table.shape[1], tuple(layers))
    except ModelError as error:
        raise ImportRefusedError(str(error)) from error
    weights = _tensors(config, passes)
    if table is None:
        _drop_first_row(config, weights, start)
    else:
        weights["embedding"] = table if start else np.concatenate([np.zeros_like(table[:1]), table])
    made = Assembled(config, weights, start, reason, notes=[*found.notes])
    _describe(made, found, chain)
    return made


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """What libraries raise when arrays are damaged or don't fit together, with the name of what was read."""
    try:
        yield
    except (OSError, ValueError, IndexError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ImportRefusedError(f"{name}: its arrays can't be read ({error}); get a fresh copy") from error


def _directions(chain: Chain) -> tuple[list[LayerConfig], list[Layer]]:
    """Each layer's direction in the row's order.

    A layer that goes backwards hands its outputs on last token first, so the next one reads the row from its end.
    """
    configs, layers = [], []
    turned = False
    for layer, residual in zip(chain.layers, chain.residual, strict=True):
        both = layer.forward is not None and layer.backward is not None
        if turned and (both or residual):
            raise ImportRefusedError(
                f"{layer.name}: it reads a row from its end, after a layer that goes backwards, and is "
                f"{'bidirectional' if both else 'added to its input'}; only plain layers can follow such a one"
            )
        if residual and layer.reversed:
            raise ImportRefusedError(
                f"{layer.name}: it goes backwards and its input is added to its output in the opposite order; "
                f"that can't be told here"
            )
        ahead, back = (layer.backward, layer.forward) if turned else (layer.forward, layer.backward)
        direction = "bidirectional" if both else "forward" if ahead is not None else "backward"
        one = layer.any_pass
        configs.append(
            LayerConfig(
                one.units, one.kind, direction, one.projection, residual=residual, reset=one.reset, gates=one.gates
            )
        )
        layers.append(Layer(layer.name, ahead, back))
        turned ^= layer.reversed
    return configs, layers


def _tensors(config: ModelConfig, layers: list[Layer]) -> dict[str, Float32]:
    weights: dict[str, Float32] = {}
    for number, layer in enumerate(layers):
        prefix = f"{config.layers[number].kind}.{number}"
        for one, place in ((layer.forward, prefix), (layer.backward, f"{prefix}.backward")):
            if one is not None:
                with _damage_named(layer.name):
                    made = convert(one)
                weights |= {f"{place}.{part}": array for part, array in made.items()}
    return weights


def _drop_first_row(config: ModelConfig, weights: dict[str, Float32], start: int) -> None:
    """One-hot ids from 1: the first kernel's row 0 is padding's."""
    if start:
        for name in (f"{prefix}.kernel" for prefix in config.layers[0].prefixes(0)):
            weights[name] = np.ascontiguousarray(weights[name][start:])


def _ids_from(found: Found, table: Table | None, rows: Float32 | None, asked: int | None) -> tuple[int, str]:
    if asked is not None:
        return asked, f"--ids-from {asked}"
    if table is None or rows is None:
        return 0, "ids are one-hot vectors, and the first stands for the source's id 0"
    if table.mask_zero:
        return 1, "the embedding masks id 0"
    if len(rows) and not rows[0].any():
        return 1, "the embedding's row 0 is all zeros"
    if found.zero_is_padding:
        return 1, "row 0 is padding's by Keras's custom; --ids-from 0 if it is a token"
    return 0, "row 0 holds a token's vector; --ids-from 1 if it is padding"


def _describe(made: Assembled, found: Found, chain: Chain) -> None:
    if chain.table is None:
        made.taken.append(f"no embedding: ids are read as one-hot vectors of {chain.layers[0].inputs}")
    else:
        rows, width = chain.table.array.shape
        made.taken.append(f"{chain.table.name}: embedding of {rows:,} rows, {width} wide")
    for layer, config in zip(chain.layers, made.config.layers, strict=True):
        made.taken.append(f"{layer.name}: {config}")
        made.notes += [f"{layer.name}: {note}" for note in layer.notes]
    names = {layer.name for layer in chain.layers}
    made.left += [f"{table.name} (embedding)" for table in found.tables.values() if table is not chain.table]
    made.left += [f"{layer.name} (recurrent layer)" for layer in found.layers.values() if layer.name not in names]
    made.left += found.left
