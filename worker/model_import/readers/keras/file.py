"""Keras 3's `.keras` file: a zip of config.json and model.weights.h5."""

import re
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found
from worker.model_import.limits import MOST_BYTES, MOST_JSON_BYTES, most_unpacked
from worker.model_import.readers.keras.configuration import (
    MODELS,
    config_of,
    inner_of,
    json_object,
    layer_configs,
    name_of,
)
from worker.model_import.readers.keras.hdf5_tree import arrays, damage_told, open_file
from worker.model_import.readers.keras.layers import find_model

_CONFIG, _WEIGHTS, _ABOUT = "config.json", "model.weights.h5", "metadata.json"
_DEPTH = 16


@damage_told()
def read_keras_file(path: Path) -> Found:
    """Read a `.keras` file.

    Raises:
        ImportRefusedError: it isn't such a file, or contains something that can't be imported.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            model = json_object(_member(archive, _CONFIG, MOST_JSON_BYTES), _CONFIG)
            about = (
                json_object(_member(archive, _ABOUT, MOST_JSON_BYTES), _ABOUT) if _ABOUT in archive.namelist() else {}
            )
            weights = _member(archive, _WEIGHTS, MOST_BYTES)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise ImportRefusedError(f"it can't be read as a zip ({error}); get a fresh copy") from error
    groups: dict[tuple[str, ...], str] = {}
    cells: dict[tuple[str, ...], dict[str, int]] = {}
    _find_groups(model, (), "", groups, cells)
    # The HDF5 file stays open: the arrays are read from it later.
    stored = {array.name: array for array in arrays(open_file(weights))}
    del weights  # the open file has a copy
    names = sorted(stored)

    def weights_of(layer: tuple[str, ...]) -> list[Array]:
        if layer not in groups:
            return []
        below = names[
            bisect_left(names, f"{groups[layer]}/") : bisect_left(names, f"{groups[layer]}0")
        ]  # "0" follows "/"
        places = cells.get(layer, {})
        return [stored[name] for name in sorted(below, key=lambda name: _order(name, places))]

    # Keras 2.12 to 2.15 wrote such files too.
    version = str(about.get("keras_version", "3"))
    return find_model(model, weights_of, f"Keras {version.partition('.')[0]:.9} file", version)


def _member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise ImportRefusedError(f"it has no {name}; a .keras file has {_CONFIG} and {_WEIGHTS}") from error
    if info.file_size > min(most_bytes, most_unpacked(info.compress_size)):
        raise ImportRefusedError(f"its {name} claims {info.file_size:,} bytes; get a fresh copy")
    with archive.open(info) as file:
        return file.read(info.file_size)


def _find_groups(
    model: Mapping[str, Any],
    path: tuple[str, ...],
    prefix: str,
    groups: dict[tuple[str, ...], str],
    cells: dict[tuple[str, ...], dict[str, int]],
) -> None:
    """Find the HDF5 group of each layer, and the places of the groups of a layer's cells.

    Groups have the names of classes, and a number if there are several.
    """
    counts: dict[str, int] = {}
    seen: set[str] = set()
    for layer in layer_configs(model):
        name, group = name_of(layer), snake_case(str(layer.get("class_name")))
        if name in seen:
            continue
        seen.add(name)
        place = f"{prefix}layers/{_numbered(group, counts)}"
        groups[*path, name] = place
        stacked = config_of(inner_of(config_of(layer), "cell")).get("cells")
        if isinstance(stacked, list):
            of_cells: dict[str, int] = {}
            kinds = [snake_case(str(one.get("class_name"))) for one in stacked if isinstance(one, dict)]
            cells[*path, name] = {_numbered(kind, of_cells): number for number, kind in enumerate(kinds)}
        if layer.get("class_name") in MODELS and len(path) < _DEPTH:
            _find_groups(layer, (*path, name), f"{place}/", groups, cells)


def _numbered(name: str, counts: dict[str, int]) -> str:
    """The name of the next group of a class."""
    counts[name] = counts.get(name, -1) + 1
    return name + (f"_{counts[name]}" if counts[name] else "")


def snake_case(name: str) -> str:
    """The name of a class as Keras writes it in files."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _order(name: str, cells: Mapping[str, int]) -> tuple[tuple[int, int, str], ...]:
    """A sort key: forward passes before backward ones, cells by their places, variables by their numbers."""
    keys = []
    for part in name.split("/"):
        word, _, number = part.rpartition("_") if "_" in part else ("", "", part)
        rank = cells.get(part, int(number) if number.isdecimal() else 0)
        keys.append((0 if "forward" in part else 1, rank, word if number.isdecimal() else part))
    return tuple(keys)
