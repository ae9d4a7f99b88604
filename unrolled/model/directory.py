"""The model directory: a recurrent language model as plain files, readable without TensorFlow.

    config.json        what `ModelConfig` holds, and "format_version": 1
    model.safetensors  float32 tensors in Keras's layout; N counts layers from 0
    tokenizer.json     Hugging Face `tokenizers` format; absent where token ids come in

    embedding                (V + 1, E)  V = vocab_size, E = embedding_dim; row 0 is padding's; absent for one-hot ids
    lstm.N.kernel            (D, 4 U)    D = the layer's input width, U = its units; gates i, f, c, o
    lstm.N.recurrent_kernel  (S, 4 U)    S = the width of the state: projection, or units
    lstm.N.bias              (4 U,)
    lstm.N.projection        (U, S)      where the state is projected
    gru.N.kernel             (D, 3 U)    gates z, r, h, and h' = z h + (1 - z) candidate
    gru.N.recurrent_kernel   (U, 3 U)
    gru.N.bias               (2, 3 U)    of the input and of the state; (3 U,) where reset is "before"
    lstm.N.backward.*, gru.N.backward.*  the same for the pass from a row's last token to its first

The fingerprint names the three files' exact bytes; whatever is computed with a model carries it.
Nothing here checks that tokenizer.json fits the vocabulary: the producer does, where it uses it.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig, default_embedding_dim
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import check_arrays, check_finite, compare_tensors, new_weights
from unrolled.store.publish import publish_bytes

# A model's configuration and fresh weights come from here too: who has a directory needs them.
__all__ = [
    "CONFIG_FILE",
    "TOKENIZER_FILE",
    "WEIGHTS_FILE",
    "LayerConfig",
    "ModelConfig",
    "ModelDirectory",
    "default_embedding_dim",
    "new_weights",
    "open_model",
    "save_model",
]

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"

# A config.json is a few kilobytes; one that is not is read no further than this.
_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """A model directory that has been opened and checked.

    Attributes:
        path: where it is.
        config: the sizes.
        fingerprint: hex SHA-256 over the name, length and bytes of each of the three files that is there.
        tokenizer_path: tokenizer.json, or None where there is none.
    """

    path: Path
    config: ModelConfig
    fingerprint: str
    tokenizer_path: Path | None

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Read every tensor: names and shapes as `ModelConfig.shapes` tells, each of finite float32 numbers.

        Raises:
            ModelError: the files changed after the directory was opened, or a weight is NaN or infinite.
        """
        # Here and below: reading published files needs this module's neighbours, but not safetensors.
        from safetensors.numpy import load_file  # noqa: PLC0415

        _check_tensors(self.path, self.config)
        try:
            weights: dict[str, NDArray[np.float32]] = load_file(self.path / WEIGHTS_FILE)
        except Exception as error:  # safetensors raises its own type, OSError or ValueError by version
            raise ModelError(f"{self.path / WEIGHTS_FILE}: can't be read ({error})") from error
        if _fingerprint(self.path) != self.fingerprint:
            raise ModelError(f"{self.path}: the files changed after the model was opened; start again")
        check_finite(weights, self.path / WEIGHTS_FILE)
        return {name: weights[name] for name in self.config.shapes()}


def open_model(path: str | os.PathLike[str]) -> ModelDirectory:
    """Open a model directory.

    Reads config.json, checks the tensors' names, types and shapes against it, and takes the fingerprint. The
    weights themselves are read by `ModelDirectory.weights`.

    Raises:
        ModelError: a file is missing, unreadable, of another format version, or contradicts config.json.
    """
    directory = Path(path)
    try:
        if not directory.is_dir():
            found = "is not a directory" if directory.exists() else "does not exist"
            raise ModelError(f"{directory}: {found}; make a model there with: unrolled model new {directory} …")
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (directory / name).is_file():
                raise ModelError(
                    f"{directory}: has no file {name}; a model directory needs {CONFIG_FILE}, {WEIGHTS_FILE}"
                )
        with (directory / CONFIG_FILE).open("rb") as file:
            text = file.read(_CONFIG_BYTES + 1)
        if len(text) > _CONFIG_BYTES:
            raise ModelError(f"{directory}: {CONFIG_FILE} is over {_CONFIG_BYTES:,} bytes, and no model's is")
        config = _config_of(directory, text)
        _check_tensors(directory, config)
        tokenizer = directory / TOKENIZER_FILE
        return ModelDirectory(directory, config, _fingerprint(directory), tokenizer if tokenizer.is_file() else None)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise ModelError(f"{directory}: can't be read ({error})") from error


def save_model(
    path: str | os.PathLike[str],
    config: ModelConfig,
    weights: dict[str, NDArray[np.float32]],
    tokenizer_json: str | None = None,
) -> ModelDirectory:
    """Write a model directory and open it.

    The directory is made if it doesn't exist; other files in it are left alone. Each file appears whole, config.json
    last, so that a directory that is half written does not open. Saving the same model again changes nothing.

    Raises:
        ModelError: another model (or tokenizer) is there already, the weights don't fit `config` or are not
            finite, or the directory can't be made.
        TransientError: a file can't be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415 (see ModelDirectory.weights)

    directory = Path(path)
    check_arrays(weights, config, directory)
    contents = {WEIGHTS_FILE: save({name: np.ascontiguousarray(weights[name]) for name in config.shapes()})}
    if tokenizer_json is not None:
        contents[TOKENIZER_FILE] = tokenizer_json.encode()
    contents[CONFIG_FILE] = config.to_json().encode()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            place = directory / name
            if (place.exists() or place.is_symlink()) and place.read_bytes() != content:
                raise ModelError(f"{directory}: holds another {name} already; choose another directory, or remove it")
    except OSError as error:
        raise ModelError(f"{directory}: can't be written ({error})") from error
    for name, content in contents.items():
        publish_bytes(directory / name, content)
    return open_model(directory)


def _config_of(directory: Path, text: bytes) -> ModelConfig:
    try:
        return ModelConfig.from_json(text)
    except ModelError as error:
        raise ModelError(f"{directory}: {error}") from error


def _check_tensors(directory: Path, config: ModelConfig) -> None:
    """Compare the header of model.safetensors with the configuration; reads no weight."""
    from safetensors import safe_open  # noqa: PLC0415 (see ModelDirectory.weights)

    place = directory / WEIGHTS_FILE
    try:
        with safe_open(place, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping: it only has keys())
            found = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except Exception as error:  # safetensors raises its own type, OSError or ValueError by version
        raise ModelError(f"{place}: is not a whole safetensors file ({error}); restore it from your copy") from error
    expected = {name: ("F32", shape) for name, shape in config.shapes().items()}
    compare_tensors(found, expected, place)


def _fingerprint(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        place = directory / name
        if name == TOKENIZER_FILE and not place.exists():
            continue
        with place.open("rb") as file:
            # Name and length stand before the bytes, so that no two sets of files read the same.
            digest.update(f"{name}\0{os.fstat(file.fileno()).st_size}\0".encode())
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
