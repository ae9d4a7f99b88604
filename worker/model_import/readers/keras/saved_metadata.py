"""The model's configuration in a SavedModel of Keras 2: keras_metadata.pb, which other SavedModels lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import MOST_JSON_BYTES, check_count
from worker.model_import.readers.keras.configuration import MODELS, json_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Fields of Keras 2's `SavedMetadata` and `SavedObject` (keras/protobuf/saved_metadata.proto).
_NODES, _PATH, _METADATA = 1, 3, 5
_BYTES, _VARINT = 2, 0


class SavedMetadata(NamedTuple):
    """The description of a model.

    Attributes:
        model: {"class_name": …, "config": …}.
        normalizations: of each layer Normalization, by its name after those of the layers that contain it: the names of
            the attributes from the model to it.
    """

    model: dict[str, Any]
    normalizations: dict[tuple[str, ...], tuple[str, ...]]


def read_metadata(path: Path) -> SavedMetadata | None:
    """The description of the model, or None if there is no file or it doesn't contain one.

    Raises:
        ImportRefusedError: the file can't be read.
    """
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ImportRefusedError(f"{path.name} has more than {MOST_JSON_BYTES:,} bytes; no model's does")
    described: dict[tuple[str, ...], dict[str, Any]] = {}
    for number, (field, node) in enumerate(_fields(path.read_bytes())):
        check_count(path.name, number)
        parts = dict(_fields(node)) if field == _NODES else {}
        if parts.get(_PATH, b"").startswith(b"root") and _METADATA in parts:
            first, *place = parts[_PATH].decode("utf-8", "replace").split(".")
            if first == "root":
                described[tuple(place)] = json_object(parts[_METADATA], path.name)
    model = described.get(())
    if model is None or model.get("class_name") not in MODELS:
        return None
    places = [place for place, one in described.items() if place and one.get("class_name") == "Normalization"]
    named = {_names(described, place): place for place in places}
    return SavedMetadata(model, named if len(named) == len(places) else {})


def _names(described: dict[tuple[str, ...], dict[str, Any]], place: tuple[str, ...]) -> tuple[str, ...]:
    """The name of a layer, after those of the layers that contain it."""
    around = (place[: number + 1] for number in range(len(place)))
    return tuple(str(described[one].get("name")) for one in around if one in described)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and content of each field of a protocol buffer that is bytes; whole numbers are skipped."""
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        if tag & 7 == _VARINT:
            _, place = _number(message, place)
            continue
        if tag & 7 != _BYTES:
            raise ImportRefusedError("keras_metadata.pb is damaged; get a fresh copy, or remove it")
        size, place = _number(message, place)
        yield tag >> 3, message[place : place + size]
        place += size


def _number(message: bytes, place: int) -> tuple[int, int]:
    """A base-128 number, and the place behind it."""
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ImportRefusedError("keras_metadata.pb is damaged; get a fresh copy, or remove it")
