"""A training from the corpus to the model directory: rows are made ready here, and learnt in another process."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from producer.terminal.progress import progress
from producer.terminal.text import figure
from producer.training.corpus import prepare
from producer.training.display import FitDisplay
from unrolled.errors import JobError, RequestError, UnrolledError
from unrolled.model.directory import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, open_model
from unrolled.training.plan import RECORD_FILE, SCRATCH, FitPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from producer.training.request import FitRequest

#: In the scratch directory: what TensorFlow says of the machine, and its last words.
LOG_FILE = "log"
#: How long a training that is told to stop may take to save its state.
_STOP_SECONDS = 60


def fit_model(request: FitRequest, device: str, threads: int | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Train a model; the same call after an interruption goes on from there.

    Args:
        request: what is asked for.
        device: "auto", "cpu" or "gpu".
        threads: of the CPU; None for all.
        say: told what the user should know.

    Returns:
        What training.json holds.

    Raises:
        UnrolledError: something can't be used, or the training failed.
    """
    if (done := _done_before(request)) is not None:
        say(f"{request.out} is trained already; to train it anew, remove it")
        return done
    if importlib.util.find_spec("tensorflow") is None:
        raise RequestError(
            "training needs TensorFlow, which is missing: pip install 'unrolled[producer,worker,tensorflow]'"
        )
    plan = prepare(request, say)
    say(
        f"{figure(plan.train.tokens)} tokens in {figure(plan.train.rows)} rows to learn from, "
        f"{figure(plan.validation.tokens)} in {figure(plan.validation.rows)} held out"
    )
    _train(request.out, plan, device, threads)
    record = read_record(request.out)
    shutil.rmtree(request.out / SCRATCH, ignore_errors=True)  # the record is there: nothing needs it any more
    return record


def read_record(directory: Path) -> dict[str, Any]:
    """What a model directory's training.json holds.

    Raises:
        JobError: there is none, or it is not JSON.
    """
    path = directory / RECORD_FILE
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(f"{path}: can't be read ({error}); train the model anew") from error
    if not isinstance(found, dict):
        raise JobError(f"{path}: holds no training's record; train the model anew")
    return found


def _done_before(request: FitRequest) -> dict[str, Any] | None:
    """The record of the same training, where it is complete.

    Raises:
        JobError: the directory holds another model.
    """
    out = request.out
    if (out / RECORD_FILE).exists():
        record = read_record(out)
        if record.get("request") == request.words() and record.get("fingerprint") == open_model(out).fingerprint:
            shutil.rmtree(out / SCRATCH, ignore_errors=True)
            return record
    # A training that was killed while it wrote its model has its plan still, and writes the same once more.
    there = [name for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE) if (out / name).exists()]
    if there and FitPlan.read(out / SCRATCH) is None:
        raise JobError(f"{out}: holds a {there[0]} of another model already; choose another --out, or remove it")
    return None


def _train(out: Path, plan: FitPlan, device: str, threads: int | None) -> None:
    command = [sys.executable, "-m", "worker.training", str(out), "--device", device]
    if threads is not None:
        command += ["--threads", str(threads)]
    failure = ""
    log = out / SCRATCH / LOG_FILE
    with (
        log.open("ab") as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            with progress("starting TensorFlow", transient=True) as bar:
                display = FitDisplay(plan.options.epochs, bar)
                for event, facts in _events(process):
                    if event == "error":
                        failure = facts["text"]
                    else:
                        display.show(event, facts)
        except BaseException:
            _stop(process)
            raise
    if process.returncode == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if process.returncode:
        raise UnrolledError(
            failure
            or f"the training ended with status {process.returncode}, see {log}; the same command goes on from there"
        )


def _events(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in process.stdout or ():
        facts = json.loads(line)
        yield facts.pop("event"), facts


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the training save its state and end. Its reports are read on, for a full pipe would hold it."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
