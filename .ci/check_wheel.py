"""Install a wheel as users do, with each extra into an empty environment, and try what that extra is there for.

    python .ci/check_wheel.py dist/unrolled-*.whl [EXTRA …]

Without an extra named, all are tried except gpu, which downloads gigabytes. uv makes the environments: what one of them
needed is in its cache for the next, as hard links, so that the second environment takes a second. `make wheel` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = ("model", "new", "model", "--vocab-size", "9", "--max-length", "9", "--lstm-units", "4", "--lstm-layers", "1")
READER = "import unrolled; print(len(unrolled.open('out')), unrolled.open('out').complete)"
ENCODE = """
import unrolled
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
config = ModelConfig.stacked(9, 9, 4, 1)
save_model("model", config, new_weights(config, 0))
assert unrolled.load("model").encode([[1, 2, 3], [4]], pooling="mean").shape == (2, 4)
"""
TRACING = "from unrolled.telemetry.tracing import check_installed; check_installed('otlp')"
#: Extras → the commands that must work with them, which are the environment's own.
TRIALS: dict[str, list[tuple[str, ...]]] = {
    "": [("python", "-c", "import unrolled; print(unrolled.open)")],
    "producer": [("unrolled", "--version"), ("unrolled", "doctor")],
    "worker": [("unrolled", *MODEL), ("unrolled", "model", "show", "model")],
    "producer,worker": [
        ("unrolled", *MODEL),
        ("unrolled", "doctor", "--model", "model"),
        ("unrolled", "run", "rows.jsonl", "--model", "model", "--out", "out"),
        ("unrolled", "verify", "out"),
        ("python", "-c", READER),
    ],
    "producer,worker,report": [
        ("unrolled", *MODEL),
        ("unrolled", "run", "rows.jsonl", "--model", "model", "--out", "out"),
        ("unrolled", "report", "out", "--png"),
    ],
    "encode": [("python", "-c", ENCODE)],
    "producer,cloud": [("python", "-c", "import obstore, unrolled"), ("unrolled", "doctor")],
    "producer,metrics": [("python", "-c", "import prometheus_client"), ("unrolled", "metrics", "--help")],
    "worker,tracing": [("python", "-c", TRACING)],
    "worker,import": [("python", "-c", "import h5py, onnx, tokenizers"), ("unrolled", "model", "import", "--help")],
    "producer,worker,tensorflow": [
        ("unrolled", "model", "fit", "rows.jsonl", "--kind", "tokens", "--vocab-size", "9", "--out", "fitted",
         "--epochs", "1", "--lstm-units", "4", "--validation-share", "0.4"),
        ("unrolled", "run", "rows.jsonl", "--model", "fitted", "--out", "out", "--engine", "tensorflow"),
    ],
}  # fmt: skip


def main(wheel: Path, extras: list[str]) -> None:
    """Try the extras that are named, or all."""
    for extra in extras or TRIALS:
        with tempfile.TemporaryDirectory(prefix="wheel-") as place:
            began = time.perf_counter()
            try_out(wheel.resolve(), extra, Path(place))
            print(f"unrolled{f'[{extra}]' if extra else ''}: {time.perf_counter() - began:.0f} s", flush=True)


def try_out(wheel: Path, extra: str, place: Path) -> None:
    """Install the wheel with an extra into an empty environment, and run what must work then.

    Raises:
        SystemExit: something doesn't.
    """
    programs = place / "env" / "bin"
    uv, wanted = [sys.executable, "-m", "uv", "--quiet"], f"{wheel}[{extra}]" if extra else str(wheel)
    run([*uv, "venv", "--python", sys.executable, str(place / "env")], place)
    constraints = str(ROOT / "constraints.txt")
    run([*uv, "pip", "install", "--python", str(programs / "python"), "--constraint", constraints, wanted], place)
    rows = [{"id": f"r{number}", "tokens": [1 + number % 9, 2, 3]} for number in range(50)]
    (place / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for program, *words in TRIALS[extra]:
        run([str(programs / program), *words], place)


def run(command: list[str], place: Path) -> None:
    """Run a command where no source of the package is in reach; its output is shown where it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UNROLLED_"))}
    done = subprocess.run(command, cwd=place, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
