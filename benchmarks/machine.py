"""Where figures were measured, for people who compare them; and a file of figures."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def machine() -> str:
    """The processor and its cores."""
    with Path("/proc/cpuinfo").open() as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit of this clone."""
    git = ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def append(path: Path, settings: Mapping[str, object], rates: Mapping[str, Sequence[float]]) -> None:
    """Append a line for each contestant to a file, which begins with the names of its fields.

    Args:
        path: of the file.
        settings: what was measured.
        rates: of each contestant in tokens a second, one for each turn.
    """
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if is_new:
            writer.writerow(["machine", "commit", "load", *settings, "contestant", "tokens_per_second"])
        for name, each in rates.items():
            values = " ".join(f"{rate:.0f}" for rate in each)
            writer.writerow([machine(), commit(), f"{os.getloadavg()[1]:.0f}", *settings.values(), name, values])
