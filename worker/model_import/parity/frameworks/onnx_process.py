"""The process that runs a cut ONNX graph: `python -m worker.model_import.parity.frameworks.onnx_process DIRECTORY`."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

#: What ONNX Runtime and NumPy need beside the model, and how often a model's bytes may be in memory.
_FREE_BYTES, _COPIES = 8 << 30, 4


def main(directory: Path) -> None:
    """Run `cut.onnx` with each `feedN.npz`, and write `madeN.npy`."""
    _limit_memory(_FREE_BYTES + _COPIES * (directory / "cut.onnx").stat().st_size)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(directory / "cut.onnx", options, providers=["CPUExecutionProvider"])
    for feed in directory.glob("feed*.npz"):
        with np.load(feed, allow_pickle=False) as arrays:
            given = {name.removeprefix("input "): arrays[name] for name in arrays.files}
        made = session.run(None, given)[0]
        np.save(directory / feed.name.replace("feed", "made").replace(".npz", ".npy"), made)


def _limit_memory(size_bytes: int) -> None:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ModuleNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
