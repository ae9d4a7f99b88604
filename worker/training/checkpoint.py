"""The state of a training in one file, which appears whole or not at all.

The tensors are those of `Network.state`. Everything else is JSON in the metadata of the safetensors file, and with it a
hash of the tensors, since the format has none: weights that a disk has changed would train on without a word.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save

from unrolled.errors import JobError
from unrolled.store.publish import publish_bytes

CHECKPOINT_FILE = "checkpoint.safetensors"
_KEY, _HASH = "progress", "sha256"


def save_state(path: Path, tensors: dict[str, NDArray[Any]], progress: dict[str, Any]) -> None:
    """Write a checkpoint; an existing file is replaced.

    Args:
        path: the file.
        tensors: the state, by name.
        progress: everything else, as JSON values.

    Raises:
        TransientError: the disk is full or failed.
    """
    # Not ascontiguousarray, which turns a scalar into an array of one.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    # One entry, for safetensors writes several in any order: equal states are equal files.
    publish_bytes(path, save(arrays, metadata={_KEY: json.dumps({**progress, _HASH: _hash_of(arrays)})}))


def _hash_of(tensors: dict[str, NDArray[Any]]) -> str:
    """A hash of the tensors' numbers."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.asarray(array, order="C").reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def best_file(scratch: Path, epoch: int) -> Path:
    """The file of the weights after an epoch, which was the best one so far."""
    return scratch / f"best-{epoch}.safetensors"


def load_best(scratch: Path, epoch: int) -> dict[str, NDArray[Any]]:
    """Read the weights of the best epoch.

    Raises:
        JobError: they are missing or damaged; nothing but a new training brings them back.
    """
    again = f"remove {scratch} and fit again"
    found = load_state(best_file(scratch, epoch), again)
    if found is None:
        raise JobError(f"{scratch}: the weights of epoch {epoch}, the best one so far, are missing; {again}")
    return found[0]


def load_state(
    path: Path, again: str = "remove it, and the training starts from the beginning"
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Read the tensors and the progress that `save_state` wrote; None if there is no file.

    Args:
        path: of the file.
        again: what to do where it is damaged.

    Raises:
        JobError: the file is damaged, or can't be read.
    """
    if not path.exists():
        return None
    try:
        path.open("rb").close()
    except OSError as error:  # safetensors would say that there is no such file
        raise JobError(f"{path} can't be read: {error.strerror}; let this user read it") from error
    try:
        with safe_open(path, framework="numpy") as file:
            progress = json.loads(file.metadata()[_KEY])
            wanted = progress.pop(_HASH, None)
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own type, OSError or ValueError by version
        raise JobError(f"{path}: is not a whole checkpoint ({error}); {again}") from error
    if wanted not in (None, _hash_of(tensors)):  # None: an earlier release wrote it
        raise JobError(f"{path}: its numbers were changed since it was written; {again}")
    return tensors, progress
