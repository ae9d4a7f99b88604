"""The format of a source, by its content, and its reader."""

# Over 150 lines: one list of formats, each with its reader.

import re
import zipfile
from contextlib import suppress
from pathlib import Path

from unrolled.errors import ModelError
from unrolled.job.directories import is_job
from unrolled.model.directory import config_there
from unrolled.model.files import WEIGHTS_FILE
from unrolled.store.bucket_url import is_url, shown
from unrolled.store.disk.git_lfs import IS_POINTER, is_lfs_pointer
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found
from worker.model_import.limits import check_count
from worker.model_import.readers.parts import has_string, refuse_part, whole_of
from worker.model_import.readers.resets import settle_resets

_ALLOWED = (
    "a Keras file (.keras, .h5, .hdf5), a TensorFlow SavedModel directory or checkpoint (.index), a PyTorch state "
    "dict (.pt, .pth, .safetensors), arrays with PyTorch's or UniRep's names (.npz, .pkl, or "
    "a directory of .npy files), ONNX (.onnx), or an ELMo (weights.hdf5 with options.json, or the directory of both)"
)
_HDF5, _ZIP, _PICKLE, _SAFETENSORS = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80", b'{"'
#: The version of the format, from 3 on, and the next field of an ONNX model.
_ONNX = re.compile(rb"\x08[\x03-\x1f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")
#: The graph in a file of torch.export, since PyTorch 2.7 and before.
_EXPORTED = re.compile(r"(^|/)(models/[^/]+\.json|serialized_exported_program\.json)$")
#: Formats that no first bytes show.
_BY_NAME = {
    ".safetensors": "safetensors", ".onnx": "onnx",
    ".pt": "torch", ".pth": "torch", ".bin": "torch", ".ckpt": "torch", ".pkl": "torch", ".pickle": "torch",
}  # fmt: skip


def read_source(
    source: Path,
    gates: str | None = None,
    forget_bias: float | None = None,
    *,
    reset: str | None = None,
    elmo_options: Path | None = None,
    vocabulary: Path | None = None,
) -> Found:
    """Read a model from any of the formats.

    Args:
        source: a file or a directory.
        gates: the activation of the gates, one of `LayerConfig`'s, if the user says it and the file doesn't.
        forget_bias: what a TensorFlow 1 program adds to the forget gate; None for 1.0.
        reset: "before" or "after", for GRUs whose arrays don't show where they reset the state.
        elmo_options: the file of options of an ELMo; None for the one beside its weights.
        vocabulary: the words that an ELMo will read.

    Raises:
        ImportRefusedError: it has none of the formats, or contains something that can't be imported; the text names
            the source.
    """
    _refuse_own(source)
    if is_url(str(source)):
        raise ImportRefusedError(f"{shown(source)}: is in a bucket; copy it to this machine, and import the copy")
    try:
        found = _read_elmo(source, elmo_options, vocabulary) or _read(source, gates, forget_bias)
    except ImportRefusedError as error:
        raise ImportRefusedError(f"{source}: {error}") from error
    except OSError as error:
        raise ImportRefusedError(f"{source}: can't be read ({error.strerror or error})") from error
    settle_resets(found, reset)
    return found


def _refuse_own(source: Path) -> None:
    """Refuse a model directory, or the weights in one. Other programs' directories have files of these names, too."""
    own = source if source.is_dir() else source.parent
    if source not in (own, own / WEIGHTS_FILE) or not (own / WEIGHTS_FILE).is_file():
        return
    config = None
    with suppress(ModelError):
        config = config_there(own)
    if config is not None:
        raise ImportRefusedError(f"{own}: is a model directory already; give it to commands as it is (--model {own})")


def _read_elmo(source: Path, options: Path | None, vocabulary: Path | None) -> Found | None:
    """Read an ELMo, or a directory with one; None if the source is something else."""
    if source.is_dir() and (source / "options.json").is_file() and (source / "weights.hdf5").is_file():
        source /= "weights.hdf5"
    if source.is_file() and _begins_with(source, _HDF5):
        from worker.model_import.readers.elmo.file import is_elmo, read_elmo  # noqa: PLC0415 - as in `_read`

        if is_elmo(source):
            return read_elmo(source, options, vocabulary)
    if options is not None or vocabulary is not None:
        option = "--vocabulary" if options is None else "--options"
        raise ImportRefusedError(f"it has no weights of an ELMo, so {option} says nothing about it; leave it out")
    return None


def _begins_with(source: Path, head: bytes) -> bool:
    with source.open("rb") as file:
        return file.read(len(head)) == head


def _read(source: Path, gates: str | None, forget_bias: float | None) -> Found:
    # Each reader imports a library of its own, so only the one that is needed is imported.
    match _format_of(source):
        case "saved model":
            from worker.model_import.readers.tensorflow.saved_model import read_saved_model  # noqa: PLC0415 - see above

            return read_saved_model(source, gates, forget_bias)
        case "checkpoint":
            from worker.model_import.readers.tensorflow.checkpoint import read_checkpoint  # noqa: PLC0415 - see above

            return read_checkpoint(source, gates, forget_bias)
        case "keras":
            from worker.model_import.readers.keras.file import read_keras_file  # noqa: PLC0415 - see above

            return read_keras_file(source)
        case "hdf5":
            from worker.model_import.readers.keras.hdf5 import read_keras_hdf5  # noqa: PLC0415 - see above

            return read_keras_hdf5(source, gates)
        case "onnx":
            from worker.model_import.readers.onnx.file import read_onnx  # noqa: PLC0415 - see above

            return read_onnx(source)
        case kind:
            from worker.model_import.readers import numpy_arrays  # noqa: PLC0415 - see above
            from worker.model_import.readers.torch import state_dict  # noqa: PLC0415 - see above

            return {
                "torch": state_dict.read_torch,
                "safetensors": state_dict.read_safetensors,
                "npz": numpy_arrays.read_npz,
                "npy files": numpy_arrays.read_npy_files,
            }[kind](source)


def _format_of(source: Path) -> str:
    if source.is_dir():
        return _format_of_directory(source)
    if source.suffix == ".index" or (not source.exists() and source.with_name(f"{source.name}.index").is_file()):
        return "checkpoint"
    with source.open("rb") as file:
        head = file.read(64)
    suffix = source.suffix.lower()
    _refuse_stand_in(source, head)
    if not head:
        raise ImportRefusedError("it is empty; get a fresh copy")
    if head.startswith(_HDF5):
        return "hdf5"
    if head.startswith(_ZIP):
        return _format_of_zip(source)
    # Safetensors begins with the length of a JSON object, in eight bytes, which may look like a pickle's first; some
    # tools name it .bin.
    by_name = _by_name(suffix, head)
    is_safetensors = head[8:10] == _SAFETENSORS and by_name in (None, "torch")
    if head.startswith(_PICKLE) and by_name not in ("onnx", "safetensors") and not is_safetensors:
        return "torch"  # as PyTorch wrote before it wrote zips, or another pickle
    kind = "safetensors" if is_safetensors else by_name
    if kind is None and source.name == "saved_model.pb":
        raise ImportRefusedError("it is the graph of a SavedModel; give the directory, which has its weights too")
    if kind is None and suffix == ".json" and has_string(source, "weight_map"):
        raise ImportRefusedError("it is the list of a model's parts; to learn what to do with them, give the directory")
    if kind is None:
        raise ImportRefusedError(f"has none of the formats that can be imported; give {_ALLOWED}")
    return kind


def _by_name(suffix: str, head: bytes) -> str | None:
    """The format of a name, unless the first bytes are those of an ONNX model."""
    kind = _BY_NAME.get(suffix)
    return "onnx" if kind in (None, "torch") and _ONNX.match(head) else kind


def _refuse_stand_in(source: Path, head: bytes) -> None:
    """Refuse a file that isn't the model itself, but a pointer to it, a web page, or a part of it."""
    if is_lfs_pointer(head):
        raise ImportRefusedError(f"{IS_POINTER}, and import it then")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ImportRefusedError("it is a web page, not a model; download the file itself")
    refuse_part(source)


def _format_of_directory(source: Path) -> str:
    if (source / "saved_model.pb").is_file():
        return "saved model"
    if any(source.glob("*.npy")):
        return "npy files"
    suffixes = {*_BY_NAME, ".keras", ".h5", ".hdf5", ".npz", ".index"}
    names = sorted(one.name for one in source.iterdir() if one.suffix.lower() in suffixes and one.is_file())
    check_count(source.name, len(names))
    if whole := whole_of(source, names):
        files = ", ".join(str(source / name) for name in whole[:5]) + (", …" if len(whole) > 5 else "")
        raise ImportRefusedError(f"is a directory; give the file in it that contains the model: {files}")
    if is_job(str(source)):
        raise ImportRefusedError("is a job's directory, not a model's")
    raise ImportRefusedError(f"is a directory without saved_model.pb and without .npy files; give {_ALLOWED}")


def _format_of_zip(source: Path) -> str:
    """The format of a zip file, by the names in it."""
    try:
        with zipfile.ZipFile(source) as archive:
            check_count(source.name, len(archive.infolist()))
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ImportRefusedError(f"it can't be read as a zip ({error}); get a fresh copy") from error
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ImportRefusedError(
            "it is TorchScript, whose graph is code that isn't run. Save the weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'model.pt'), and import that"
        )
    if any(_EXPORTED.search(name) for name in names):
        raise ImportRefusedError(
            "it is a program of torch.export, whose graph isn't read. Save the weights: "
            "torch.save(torch.export.load(FILE).state_dict, 'model.pt'), and import that; or export the model to ONNX, "
            "whose graph is read"
        )
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    if "config.json" in names or "model.weights.h5" in names:
        return "keras"
    if any(name.endswith(".npy") for name in names):
        return "npz"
    return {".keras": "keras", ".npz": "npz"}.get(source.suffix.lower(), "torch")
