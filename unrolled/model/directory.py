"""The model directory: a recurrent language model as plain files, readable without TensorFlow.

    config.json        the fields of `ModelConfig`, and "format_version": 1
    model.safetensors  float32 tensors in Keras's layout; N is the number of the layer, from 0
    tokenizer.json     in the format of Hugging Face `tokenizers`; absent if rows are token ids

    embedding                (V + 1, E)  V = vocab_size, E = embedding_dim; row 0 is padding, and is read only by models
                                         that pad rows (`Padding`); absent for one-hot ids
    lstm.N.kernel            (D, 4 U)    D = width of the layer's input, U = units; gates i, f, c, o
    lstm.N.recurrent_kernel  (S, 4 U)    S = width of the state: projection, or units
    lstm.N.bias              (4 U,)
    lstm.N.projection        (U, S)      if the state is projected
    mlstm.N.*                the tensors of an lstm; the recurrent kernel multiplies x input_factor * h state_factor
    mlstm.N.input_factor     (D, U)
    mlstm.N.state_factor     (U, U)
    gru.N.kernel             (D, 3 U)    gates z, r, h; h' = z h + (1 - z) candidate
    gru.N.recurrent_kernel   (U, 3 U)
    gru.N.bias               (2, 3 U)    for the input and for the state; (3 U,) if reset is "before"
    lstm.N.input_gain        (4 U,)      if it has norms: norm(x kernel + input_shift) input_gain
    lstm.N.state_gain        (4 U,)      + norm(h recurrent_kernel + state_shift) state_gain + bias; also the shifts
    lstm.N.cell_gain         (U,)        norm(c) cell_gain + cell_bias
    lstm.N.first_state       (S,)        the state before a row's first token, if it isn't zero; also of the others
    lstm.N.first_cell        (U,)        and the cell's; also of an mlstm
    lstm.N.backward.*        and of the others: tensors of the pass from a row's last token to its first
    dense.N.kernel           (D, U)      a map above a recurrent layer; its output is activation(x kernel + bias)
    layer_norm.N.gain        (U,)        U = D; also scale.N.gain
    dense.N.bias             (U,)        also of a layer_norm and a scale

The fingerprint identifies the exact bytes of the three files; all outputs of a model are stored with it.
That tokenizer.json fits the vocabulary is checked when it is loaded, not when the directory is opened.
"""

# Over 150 lines: opening and saving check the same files.

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import ModelError, RequestError, as_argument, from_extra, printable
from unrolled.model.cache import local_copy
from unrolled.model.config import ModelConfig
from unrolled.model.files import CONFIG_FILE, JOB_FILE, TOKENIZER_FILE, TRAINING_FOLDER, WEIGHTS_FILE, fingerprint_of
from unrolled.model.weights import check_arrays, check_finite, check_header, check_stored, reading
from unrolled.store.bucket_url import is_url, shown
from unrolled.store.disk.path_limits import whole_home
from unrolled.store.publish import publish_bytes
from unrolled.tokenization.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

#: Suffixes of files that `unrolled model import` reads.
_IMPORTED = (".keras", ".h5", ".hdf5", ".pt", ".pth", ".bin", ".safetensors", ".onnx", ".index")
#: The longest config.json that is read, in bytes; a model's has a few kilobytes.
_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """A model directory that has been opened and checked.

    Attributes:
        path: the directory.
        config: the model's configuration.
        fingerprint: hexadecimal SHA-256 of name, length and bytes of each of the three files that exists.
        tokenizer_path: tokenizer.json, or None if there is none.
    """

    path: Path
    config: ModelConfig
    fingerprint: str
    tokenizer_path: Path | None

    def check_unchanged(self) -> None:
        """Check that what was read since the directory was opened is the model of the fingerprint.

        Raises:
            ModelError: the files changed after the directory was opened.
        """
        try:
            now = fingerprint_of(self.path)
        except OSError as error:
            raise ModelError(f"{self.path}: can't be read ({error})") from error
        if now != self.fingerprint:
            raise ModelError(
                f"{self.path}: the files changed after the model was opened; put the old ones back, or start again "
                "with these, in another directory if a job has begun"
            )

    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer; None where it has none.

        Raises:
            ModelError: it doesn't fit the model.
        """
        if not self.tokenizer_path:
            return None
        tokenizer = load_tokenizer(self.tokenizer_path, self.config.vocab_size)
        self.check_unchanged()  # a tokenizer that was put there meanwhile makes other ids than the fingerprint says
        return tokenizer

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Read the tensors: finite float32 arrays with the names and shapes of `ModelConfig.shapes`.

        Raises:
            ModelError: the files changed after the directory was opened, or a weight is NaN or infinite.
        """
        check_header(self.path / WEIGHTS_FILE, self.config)
        from safetensors.numpy import load_file  # noqa: PLC0415 - in the extras; a reader of published files needs none

        with reading(self.path / WEIGHTS_FILE):
            weights: dict[str, NDArray[np.float32]] = load_file(self.path / WEIGHTS_FILE)
        self.check_unchanged()
        check_finite(weights, self.path / WEIGHTS_FILE)
        return {name: weights[name] for name in self.config.shapes()}


def open_model(path: str | os.PathLike[str]) -> ModelDirectory:
    """Open a model directory, or the copy of a model in a bucket.

    This reads config.json, compares names, types and shapes of the tensors with it, computes the fingerprint, and looks
    for weights that aren't finite. `ModelDirectory.weights` reads the weights.

    Args:
        path: path of the directory, or URL of a prefix in a bucket, which `local_copy` copies to this machine.

    Raises:
        ModelError: a file is missing or unreadable, has another format version, or contradicts config.json; or a weight
            is NaN or infinite.
        RequestError: the URL can't be used, or a package isn't installed.
        TransientError: the bucket can't be reached, or the copy can't be written.
    """
    directory = local_copy(os.fspath(path)) if is_url(os.fspath(path)) else Path(path)
    try:
        if not directory.is_dir():
            _look_at(directory)
            raise ModelError(f"{directory}: {_why_no_directory(directory)}")
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            _check_there(directory, name)
        text = _config_text(directory)
        if len(text) > _CONFIG_BYTES:
            raise ModelError(f"{directory}: {CONFIG_FILE} has more than {_CONFIG_BYTES:,} bytes; no model's does")
        config = _config_of(directory, text)
        check_header(directory / WEIGHTS_FILE, config)
        tokenizer = directory / TOKENIZER_FILE
        fingerprint = fingerprint_of(directory)
        check_stored(directory / WEIGHTS_FILE)
        if _config_text(directory) != text:  # the fingerprint must be that of the configuration that was read
            raise ModelError(f"{directory}: the files changed while the model was opened; start again")
        return ModelDirectory(directory, config, fingerprint, tokenizer if tokenizer.is_file() else None)
    except PermissionError as error:
        raise ModelError(
            f"{error.filename or directory} can't be read: {error.strerror}; let this user read it"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise ModelError(f"{directory}: can't be read ({error})") from error


def _check_there(directory: Path, name: str) -> None:
    """Check that a file of a model is there.

    Raises:
        ModelError: it isn't.
        OSError: it can't be read; safetensors would say that there is no such file.
    """
    file = directory / name
    if not file.is_file():
        _look_at(file)
        raise ModelError(f"{directory}: {_why_no_model(directory, name)}")
    file.open("rb").close()


def _look_at(path: Path) -> None:
    """Ask for what isn't there, because since Python 3.14 a path isn't a file if this user may not look at it.

    Raises:
        OSError: it may be there, but can't be looked at.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.stat()


def config_there(path: str | os.PathLike[str]) -> ModelConfig | None:
    """The configuration of a model directory, without a look at its weights; None if there is no such directory.

    Raises:
        ModelError: config.json can't be read, or is of another format version.
    """
    directory = Path(path)
    if not (directory / CONFIG_FILE).is_file():
        return None
    try:
        return _config_of(directory, _config_text(directory))
    except OSError as error:
        raise ModelError(f"{directory}: can't be read ({error})") from error


def _why_no_directory(path: Path) -> str:
    """Why a path isn't that of a directory, and how to make a model directory."""
    if why := whole_home(str(path)):
        return f"does not exist; {why}"
    if not path.exists() and path.is_symlink():
        return (
            f"is a symbolic link to {printable(os.path.realpath(path))}, which doesn't exist; name a model's directory"
        )
    if not path.exists():
        return f"does not exist; check the path, or make a model there with: unrolled model new {as_argument(path)} …"
    if path.suffix not in _IMPORTED:
        return "is a file; name the directory of a model"
    made = f"of a model that was trained elsewhere, make one: unrolled model import {as_argument(path)} DIRECTORY"
    return f"is a file; name the directory of a model; {made}"


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
        RequestError: `path` is a URL, or safetensors isn't installed.
        ModelError: the directory contains another model or tokenizer, the weights don't fit `config` or are not
            finite, or the directory can't be made.
        TransientError: a file can't be written.
    """
    # Over 40 lines: half of it is the description of what it may refuse.
    with from_extra("writing a model", "encode"):
        from safetensors.numpy import save  # noqa: PLC0415 - as in `ModelDirectory.weights`

    check_is_local(path)
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
                raise ModelError(f"{directory}: contains another {name}; choose another directory, or remove the file")
    except OSError as error:
        raise ModelError(f"{directory}: can't be written ({error.strerror or error}); choose another") from error
    for name, content in contents.items():
        publish_bytes(directory / name, content)
    return open_model(directory)


def _why_no_model(directory: Path, missing: str) -> str:
    if (directory / TRAINING_FOLDER).is_dir():
        return "its training isn't finished; if it has stopped, the same `unrolled model fit` resumes it"
    if (directory / JOB_FILE).is_file():
        return (
            f"is a job's directory, not a model's; its model{_fingerprint_in(directory / JOB_FILE)} is elsewhere: name "
            "the directory that --model named when the job was made (`unrolled model show DIR` prints the fingerprint)"
        )
    return f"has no file {missing}; a model directory needs {CONFIG_FILE} and {WEIGHTS_FILE}"


def _fingerprint_in(job_file: Path) -> str:
    """What a job's file says of its model; empty if it can't be read, because this is said within an error."""
    try:
        with job_file.open("rb") as file:
            found = json.loads(file.read(_CONFIG_BYTES))["fingerprint"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""
    return f" (fingerprint {found!s:.64})"


def _config_text(directory: Path) -> bytes:
    with (directory / CONFIG_FILE).open("rb") as file:
        return file.read(_CONFIG_BYTES + 1)


def check_is_local(path: str | os.PathLike[str]) -> None:
    """Refuse a URL for a model that is to be made.

    Raises:
        RequestError: it is one.
    """
    if is_url(os.fspath(path)):
        raise RequestError(
            f"{shown(path)}: a model can't be made in a bucket; make it in a directory, and copy the directory there"
        )


def check_is_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a place where no model directory can be made, before the model is computed.

    Raises:
        ModelError: it is below a file, or this user may not write there.
    """
    place = Path(path).absolute()
    there = next(each for each in (place, *place.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ModelError(f"{path}: can't be made, because {there} is no directory; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ModelError(f"{path}: can't be written (no permission to write in {there}); choose another")


def _config_of(directory: Path, text: bytes) -> ModelConfig:
    try:
        return ModelConfig.from_json(text)
    except ModelError as error:
        raise ModelError(f"{directory}: {error}") from error
