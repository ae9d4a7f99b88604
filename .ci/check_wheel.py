"""Install a wheel as users do, with each extra into an empty environment, and try what that extra is there for.

    python .ci/check_wheel.py dist/unrolled-*.whl [EXTRA …]

Without an extra named, all are tried but tensorflow and gpu, which take minutes and gigabytes. `make wheel` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = ("model", "new", "model", "--vocab-size", "9", "--max-length", "9", "--lstm-units", "4", "--lstm-layers", "1")
READER = "import unrolled; print(len(unrolled.open('out')), unrolled.open('out').complete)"
#: Extras → the commands that must work with them, as words after the environment's Python.
TRIALS: dict[str, list[tuple[str, ...]]] = {
    "": [("-c", "import unrolled; print(unrolled.open)")],
    "producer": [("-m", "producer", "--version"), ("-m", "producer", "doctor")],
    "worker": [("-m", "producer", *MODEL), ("-m", "producer", "model", "show", "model")],
    "producer,worker": [
        ("-m", "producer", *MODEL),
        ("-m", "producer", "doctor", "--model", "model"),
        ("-m", "producer", "run", "rows.jsonl", "--model", "model", "--out", "out"),
        ("-m", "producer", "verify", "out"),
        ("-c", READER),
    ],
    "producer,worker,report": [
        ("-m", "producer", *MODEL),
        ("-m", "producer", "run", "rows.jsonl", "--model", "model", "--out", "out"),
        ("-m", "producer", "report", "out", "--png"),
    ],
    "encode": [("-c", "import unrolled; print(unrolled.load)")],
    "producer,cloud": [("-c", "import obstore, unrolled"), ("-m", "producer", "doctor")],
    "producer,metrics": [("-c", "import prometheus_client"), ("-m", "producer", "metrics", "--help")],
    "worker,tracing": [("-c", "from unrolled.telemetry.tracing import check_installed; check_installed('otlp')")],
    "worker,import": [("-c", "import h5py, onnx, tokenizers"), ("-m", "producer", "model", "import", "--help")],
    "producer,worker,tensorflow": [
        ("-m", "producer", "model", "fit", "rows.jsonl", "--kind", "tokens", "--vocab-size", "9", "--out", "fitted",
         "--epochs", "1", "--lstm-units", "4", "--validation-share", "0.4"),
        ("-m", "producer", "run", "rows.jsonl", "--model", "fitted", "--out", "out", "--engine", "tensorflow"),
    ],
}  # fmt: skip


def main(wheel: Path, extras: list[str]) -> None:
    """Try the extras that are named, or all that are quick."""
    for extra in extras or [extra for extra in TRIALS if "tensorflow" not in extra]:
        with tempfile.TemporaryDirectory(prefix="wheel-") as place:
            print(f"unrolled[{extra}]" if extra else "unrolled", flush=True)
            try_out(wheel.resolve(), extra, Path(place))


def try_out(wheel: Path, extra: str, place: Path) -> None:
    """Install the wheel with an extra into an empty environment, and run what must work then.

    Raises:
        SystemExit: something doesn't.
    """
    venv.create(place / "env", with_pip=True)
    python = str(place / "env" / "bin" / "python")
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    run([python, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), wanted], place)
    rows = [{"id": f"r{number}", "tokens": [1 + number % 9, 2, 3]} for number in range(50)]
    (place / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for words in TRIALS[extra]:
        run([python, *words], place)


def run(command: list[str], place: Path) -> None:
    """Run a command where no source of the package is in reach; its output is shown where it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UNROLLED_"))}
    done = subprocess.run(command, cwd=place, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])} ended with {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
