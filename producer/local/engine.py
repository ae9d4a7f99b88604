"""The engine that computes a job on this machine if none is named, and what it can do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer.terminal.last_words import last_words
from unrolled.errors import OptionError, install_command

if TYPE_CHECKING:
    from unrolled.job.offer import Arithmetic, EngineName
    from unrolled.settings.worker_options import WorkerOptions

#: Measuring takes a second on a busy machine.
_SECONDS = 60.0
#: What is said of a job for workers, where the user names no engine.
FOR_OTHERS = (
    "this job is for workers with the fused engine, which is not here, because its kernel was not built; for workers "
    "with TensorFlow, give --engine tensorflow --arithmetic float32, and another --out"
)
_KERNEL = Path("engines", "fused", "_kernel.so")


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed; it isn't imported."""
    return find_spec("tensorflow") is not None


def why_no_tensorflow() -> str:
    """Why TensorFlow can't compute here; empty if it can be imported, which a process of its own tries for seconds."""
    if not has_tensorflow():
        return "TensorFlow is not installed"
    command = [sys.executable, "-P", "-c", "import tensorflow"]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"TensorFlow can't be imported ({error})"
    if not done.returncode:
        return ""
    how = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
    return f"TensorFlow can't be imported ({how}: {last_words(done.stderr) or 'no output'})"


def local_engine() -> EngineName:
    """The fused engine where its kernel was built, else TensorFlow's; nothing of the worker is imported."""
    return "fused" if any(path.is_file() for path in _kernels()) else "tensorflow"


def why_not_built() -> str:
    """Why the kernel of the fused engine isn't here, and what helps, as the installation has kept it."""
    for path in _kernels():
        with suppress(OSError, ValueError):
            return f"its kernel was not built: {path.with_suffix('.txt').read_text(encoding='utf-8').strip()}"
    return "its kernel was not built; install a C++ compiler, and install unrolled again"


def substitute() -> str:
    """What is said where the user names no engine, and TensorFlow computes for lack of the other."""
    return f"TensorFlow computes, because the fused engine is not here: {why_not_built()}"


def _kernels() -> list[Path]:
    """Where the kernel would be."""
    worker = find_spec("worker")
    places = worker.submodule_search_locations if worker else None
    return [Path(place) / _KERNEL for place in places or ()]


def choose_engine(engine: EngineName | None, arithmetic: Arithmetic) -> EngineName:
    """The engine that computes a job on this machine, before anything is begun.

    Args:
        engine: that the user names; None for the one that this machine has.
        arithmetic: that the job is computed in.

    Raises:
        OptionError: the kernel of the fused engine wasn't built, or TensorFlow isn't installed, or neither.
    """
    has_fused = local_engine() == "fused"
    if not has_fused and not has_tensorflow():
        why = why_not_built()
        raise OptionError(f"no engine is installed here. The fused engine: {why}, or {install_command('tensorflow')}")
    if engine == "tensorflow" and not has_tensorflow():
        raise OptionError(
            f"--engine tensorflow: TensorFlow is not installed here; {install_command('tensorflow')}, or use"
            " --engine fused"
        )
    if not has_fused and engine == "fused":
        other = "--engine tensorflow" if arithmetic == "float32" else "--engine tensorflow --arithmetic float32"
        raise OptionError(f"--engine fused: {why_not_built()}, or use {other}")
    if not has_fused and engine is None and arithmetic != "float32":
        raise OptionError(
            f"--arithmetic {arithmetic}: only the fused engine has it, and {why_not_built()}, or use"
            " --arithmetic float32"
        )
    return engine or local_engine()


def check_arithmetic(options: WorkerOptions) -> None:
    """Refuse an arithmetic that this machine's workers would refuse, before anything is begun.

    Raises:
        OptionError: it is bfloat16x3, there are no matrix units, and the options don't allow to do without.
    """
    if options.arithmetic != "bfloat16x3" or options.emulate:
        return
    facts = ask_engine()
    found = facts.get("arithmetics", {}).get(options.arithmetic)
    if found is not None and found["isa"] != "amx":
        reason = facts["tiles"] or f"UNROLLED_ISA is {found['isa']}"
        raise OptionError(
            f"--arithmetic bfloat16x3 needs matrix units to be faster than float32, and there are none here: {reason}; "
            "take another machine, or give --emulate to compute without them, more slowly than in float32"
        )


@cache
def ask_engine() -> dict[str, Any]:
    """What the fused engine says of itself, in a process of its own: nothing of the worker is imported here."""
    command = [sys.executable, "-P", "-m", "worker.engines.fused"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        facts: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {"problem": "it is not installed here, or can't be asked"}
    return facts
