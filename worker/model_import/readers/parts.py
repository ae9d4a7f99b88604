"""Models in several files: none of these is taken for the whole, and the error says how to join them."""

import json
import re
from contextlib import suppress
from pathlib import Path

from worker.model_import.errors import ImportRefusedError

#: Bytes of a list of a model's parts that are looked at.
_LIST_BYTES = 1 << 24
#: How the names of a model's parts end.
_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})\.\w+$")
#: Keras's list of weights that it saved in several files, and their names in it. No string of JSON begins after a
#: backslash; if the search began there, a list with many escaped quotation marks would take minutes.
_KERAS_LIST = ".weights.json"
_KERAS_PART = re.compile(rb'(?<!\\)"(?:[^"\\\n]|\\.){0,2000}_\d{5,}\.weights\.h5"')


def has_string(listing: Path, text: str) -> bool:
    """Whether a JSON file has this string."""
    return f'"{text}"'.encode() in _beginning(listing)


def refuse_part(source: Path) -> None:
    """Refuse a file that is a part of a model, or the list of its parts."""
    part = _PART.search(source.name)
    if part is not None and int(part["count"]) > 1:
        raise ImportRefusedError(f"it is part {int(part['number'])} of {int(part['count'])}. {_how_to_join(part)}")
    lists = _keras_lists(source.parent)
    if source.name in lists:
        raise ImportRefusedError(f"it is the list of a model's weights. {_how_to_join_keras(source.name)}")
    for name, parts in lists.items():
        if source.name in parts:
            raise ImportRefusedError(f"{name} lists it as a part of a model. {_how_to_join_keras(name)}")


def whole_of(directory: Path, files: list[str]) -> list[str]:
    """Those of a directory's files that aren't parts of a model.

    Raises:
        ImportRefusedError: there are only parts.
    """
    lists = _keras_lists(directory)
    listed = {part: name for name, parts in lists.items() for part in parts}
    whole = [name for name in files if not _PART.search(name) and name not in listed]
    if whole:
        return whole
    if of_keras := [listed[name] for name in files if name in listed] or ([] if files else [*lists]):
        raise ImportRefusedError(
            f"is a directory with a model's weights in several files. {_how_to_join_keras(of_keras[0])}"
        )
    part = next(filter(None, map(_PART.search, files)), None)
    if part is not None:
        raise ImportRefusedError(f"is a directory with a model in {int(part['count'])} parts. {_how_to_join(part)}")
    return []


def _keras_lists(directory: Path) -> dict[str, set[str]]:
    """The names of Keras's lists in a directory, with those of the files that each lists, if they are several."""
    lists = {one.name: _parts_in(one) for one in sorted(directory.glob(f"*{_KERAS_LIST}")) if one.is_file()}
    return {name: parts for name, parts in lists.items() if len(parts) > 1}


def _parts_in(listing: Path) -> set[str]:
    """The names of files that one of Keras's lists has; none, if it can't be read."""
    with suppress(OSError, ValueError):
        return {str(json.loads(name)) for name in _KERAS_PART.findall(_beginning(listing))}
    return set()


def _beginning(listing: Path) -> bytes:
    with listing.open("rb") as file:
        return file.read(_LIST_BYTES)


def _how_to_join_keras(listing: str) -> str:
    """What to do with weights in several files, of which Keras made this list."""
    name = listing.removesuffix(_KERAS_LIST)
    return (
        f'Load all parts with model.load_weights("{listing}"), save them in one file with '
        f'model.save_weights("{name}.weights.h5"), and import that'
    )


def _how_to_join(part: re.Match[str]) -> str:
    """What to do with a model in several parts, of which one has this name."""
    name = part.string
    pattern = f"{name[: part.start()]}-{{number}}-of-{part['count']}{Path(name).suffix}"
    first, last = (pattern.format(number=f"{one:05}") for one in (1, int(part["count"])))
    return (
        f"Load the parts {first} to {last}, put their arrays into one dictionary, save that "
        "(safetensors.numpy.save_file), and import it"
    )
