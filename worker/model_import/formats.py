"""Which format a source has, told by its content, and its reader."""

from pathlib import Path

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found

_ALLOWED = (
    "a Keras file (.keras, .h5, .hdf5), a TensorFlow SavedModel directory or checkpoint (.index), a PyTorch "
    "state dict (.pt, .pth, "
    ".safetensors), arrays with its names (.npz), or ONNX (.onnx)"
)
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def read_source(source: Path, gates: str | None = None, forget_bias: float | None = None) -> Found:
    """Read a model from any of the formats.

    Args:
        source: a file or a directory.
        gates: of `LayerConfig.gates`, where its user vouches for the recurrent activation that the file doesn't tell.
        forget_bias: what a TensorFlow 1 program adds to the forget gate; None: 1.0.

    Raises:
        ImportRefusedError: it is none of the formats, or holds what can't be taken over; the text names the source.
    """
    try:
        return _read(source, gates, forget_bias)
    except ImportRefusedError as error:
        raise ImportRefusedError(f"{source}: {error}") from error
    except OSError as error:
        raise ImportRefusedError(f"{source}: can't be read ({error.strerror or error})") from error


def _read(source: Path, gates: str | None, forget_bias: float | None) -> Found:
    # Each reader brings its own library, so only the one that is used is loaded.
    kind = _kind(source)
    if kind in ("saved model", "checkpoint"):
        from worker.model_import.readers.tensorflow import tensorflow_files  # noqa: PLC0415

        read = tensorflow_files.read_saved_model if kind == "saved model" else tensorflow_files.read_checkpoint
        return read(source, gates, forget_bias)
    if kind == "keras":
        from worker.model_import.readers.keras.keras_file import read_keras_file  # noqa: PLC0415

        return read_keras_file(source)
    if kind == "hdf5":
        from worker.model_import.readers.keras.keras_hdf5 import read_keras_hdf5  # noqa: PLC0415

        return read_keras_hdf5(source, gates)
    if kind == "onnx":
        from worker.model_import.readers.onnx.onnx_file import read_onnx  # noqa: PLC0415

        return read_onnx(source)
    from worker.model_import.readers.torch import state_dict  # noqa: PLC0415

    return {"torch": state_dict.read_torch, "safetensors": state_dict.read_safetensors, "npz": state_dict.read_npz}[
        kind
    ](source)


def _kind(source: Path) -> str:
    if source.is_dir():
        if (source / "saved_model.pb").is_file():
            return "saved model"
        raise ImportRefusedError(f"is a directory without saved_model.pb; give {_ALLOWED}")
    if source.suffix == ".index" or (not source.exists() and source.with_name(f"{source.name}.index").is_file()):
        return "checkpoint"
    with source.open("rb") as file:
        head = file.read(8)
    suffix = source.suffix.lower()
    if head == _HDF5:
        return "hdf5"
    if head.startswith(_ZIP):
        return {".keras": "keras", ".npz": "npz"}.get(suffix, "torch")
    kinds = {
        ".safetensors": "safetensors",
        ".onnx": "onnx",
        ".pt": "torch",
        ".pth": "torch",
        ".bin": "torch",
        ".ckpt": "torch",
    }
    if suffix not in kinds:
        raise ImportRefusedError(f"is none of the formats that can be imported; give {_ALLOWED}")
    return kinds[suffix]
