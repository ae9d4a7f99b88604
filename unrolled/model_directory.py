"""The model directory: a stacked LSTM language model as plain files, readable without TensorFlow.

    config.json        what `ModelConfig` holds, and "format_version": 1
    model.safetensors  float32 tensors in Keras's layout, V = vocab_size, E = embedding_dim,
                       embedding                (V + 1, E)             U = num_lstm_units; row 0 is padding's
                       lstm.N.kernel            (E or U, 4 U)          N counts layers from 0
                       lstm.N.recurrent_kernel  (U, 4 U)
                       lstm.N.bias              (4 U,)
                       Gates stand in the order i, f, c, o along the last axis.
    tokenizer.json     Hugging Face `tokenizers` format; absent where token ids come in

The fingerprint names the three files' exact bytes; whatever is computed with a model carries it.
Nothing here checks that tokenizer.json fits the vocabulary: the producer does, where it uses it.
"""

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError

FORMAT_VERSION = 1
CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"

# A config.json is a few hundred bytes; one that is not is read no further than this.
_CONFIG_BYTES = 1 << 20
# Beyond these a number is a typing error, not a model: refuse it before memory is taken for it.
_LARGEST = {
    "vocab_size": 2**31 - 2,  # ids are int32, and the embedding has one row more
    "max_length": 2**31 - 1,
    "num_lstm_units": 2**16,
    "num_lstm_layers": 64,
    "embedding_dim": 2**16,
}
_MOST_PARAMETERS = 2**32  # 16 GiB of float32


def default_embedding_dim(vocab_size: int) -> int:
    """Width of the embedding where none is asked for: the fourth root of the vocabulary, rounded down."""
    return int(vocab_size**0.25)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What fixes the shape of every weight.

    Attributes:
        vocab_size: the largest token id; ids are 1..vocab_size, and 0 is padding.
        max_length: time steps that the model was made for, in tokens. Longer rows are computed all the same.
        num_lstm_units: width of each layer's state, and so of the outputs.
        num_lstm_layers: how many LSTM layers stand on each other.
        embedding_dim: width of the embedding; see `default_embedding_dim`.

    Raises:
        ModelError: a value is not a whole number in its range, or the weights would pass 16 GiB.
    """

    vocab_size: int
    max_length: int
    num_lstm_units: int
    num_lstm_layers: int
    embedding_dim: int

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= largest:
                raise ModelError(f"model: {name} is {value!r:.80}; give a whole number in 1..{largest}")
        if self.parameters > _MOST_PARAMETERS:
            raise ModelError(
                f"model: these sizes make {self.parameters:,} parameters, at most {_MOST_PARAMETERS:,} "
                "are allowed; lower vocab_size, embedding_dim, num_lstm_units or num_lstm_layers"
            )

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's name and shape, in the order in which the layers use them."""
        units = self.num_lstm_units
        shapes: dict[str, tuple[int, ...]] = {"embedding": (self.vocab_size + 1, self.embedding_dim)}
        for layer in range(self.num_lstm_layers):
            inputs = units if layer else self.embedding_dim
            shapes[f"lstm.{layer}.kernel"] = (inputs, 4 * units)
            shapes[f"lstm.{layer}.recurrent_kernel"] = (units, 4 * units)
            shapes[f"lstm.{layer}.bias"] = (4 * units,)
        return shapes

    def to_json(self) -> str:
        """The text of config.json."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ModelError: not JSON, another format version, a field too few or too many, or a bad value.
        """
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"model: {CONFIG_FILE} is not JSON ({error}); restore it from your copy") from error
        if not isinstance(found, dict):
            raise ModelError(f"model: {CONFIG_FILE} holds a {type(found).__name__}, and must hold an object")
        version = found.pop("format_version", None)
        if type(version) is not int or version != FORMAT_VERSION:
            raise ModelError(
                f"model: {CONFIG_FILE} has format_version {version!r:.80}, this program reads "
                f"{FORMAT_VERSION}; use the version of unrolled that wrote it, or make the directory anew"
            )
        names = {field.name for field in fields(cls)}
        if found.keys() != names:
            missing, unknown = sorted(names - found.keys()), sorted(found.keys() - names)
            raise ModelError(f"model: {CONFIG_FILE} lacks {missing} and has the unknown {unknown!s:.200}; correct it")
        return cls(**found)


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
        _check_finite(weights, self.path / WEIGHTS_FILE)
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

    The directory is made where it isn't there; other files in it are left alone. Each file is written beside
    its place, synced, and renamed; config.json comes last, so that a directory half written does not open.
    Saving the same model again changes nothing.

    Raises:
        ModelError: another model (or tokenizer) is there already, the weights don't fit `config` or are not
            finite, or the files can't be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415 (see ModelDirectory.weights)

    directory = Path(path)
    _check_arrays(weights, config, directory)
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
        for name, content in contents.items():
            _write_file(directory / name, content)
        _sync_directory(directory)
    except OSError as error:
        raise ModelError(f"{directory}: can't be written ({error})") from error
    return open_model(directory)


def new_weights(config: ModelConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Untrained weights by Keras's default initialisers.

    Embedding: uniform in ±0.05. Kernels: Glorot uniform. Recurrent kernels: orthogonal. Biases: 0, and 1 for
    the forget gate. The same seed gives the same numbers with the same NumPy and LAPACK; with another, the
    orthogonal part may differ in the last bits.
    """
    random = np.random.default_rng(seed)
    units = config.num_lstm_units
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in config.shapes().items():
        if name == "embedding":
            weights[name] = random.uniform(-0.05, 0.05, shape).astype(np.float32)
        elif name.endswith("recurrent_kernel"):
            q, r = np.linalg.qr(random.standard_normal((4 * units, units)))
            weights[name] = (q * np.sign(np.diag(r))).T.astype(np.float32)  # (4 U, U) -> (U, 4 U)
        elif name.endswith("kernel"):
            limit = math.sqrt(6 / sum(shape))
            weights[name] = random.uniform(-limit, limit, shape).astype(np.float32)
        else:
            weights[name] = np.repeat(np.array([0, 1, 0, 0], np.float32), units)
    return weights


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
    _compare(found, expected, place)


def _check_arrays(weights: dict[str, NDArray[np.float32]], config: ModelConfig, place: Path) -> None:
    found = {name: (str(array.dtype), array.shape) for name, array in weights.items()}
    _compare(found, {name: ("float32", shape) for name, shape in config.shapes().items()}, place)
    _check_finite(weights, place)


def _compare(
    found: dict[str, tuple[str, tuple[int, ...]]],
    expected: dict[str, tuple[str, tuple[int, ...]]],
    place: Path,
) -> None:
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            seen = "missing" if name not in found else f"{found[name][0]} {found[name][1]}"
            raise ModelError(
                f"{place}: tensor {name} is {seen}, the configuration wants {wanted[0]} {wanted[1]}; "
                f"{CONFIG_FILE} and {WEIGHTS_FILE} must come from the same model"
            )
    if unknown := sorted(found.keys() - expected.keys()):
        raise ModelError(f"{place}: has tensors that no layer uses: {unknown[:5]!s:.200}; save the model without them")


def _check_finite(weights: dict[str, NDArray[np.float32]], place: Path) -> None:
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ModelError(
                f"{place}: tensor {name} holds NaN or infinity; its training went wrong, use other weights"
            )


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


def _write_file(place: Path, content: bytes) -> None:
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
