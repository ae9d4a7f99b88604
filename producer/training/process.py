"""A training from the corpus to the model directory: this process prepares the rows, another one trains."""

# Over 150 lines: one training, from its request to its end, and how it resumes.

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from producer.sources.discovery import STANDARD_INPUT, discover
from producer.terminal.last_words import last_words
from producer.terminal.progress import progress
from producer.terminal.signals import announce
from producer.terminal.text import figure
from producer.training.corpus import inputs_of, prepare
from producer.training.display import FitDisplay
from producer.training.place import clear, held
from producer.training.request import differences
from unrolled.errors import (
    JobError,
    OptionError,
    RequestError,
    TransientError,
    UnrolledError,
    as_argument,
    install_command,
)
from unrolled.job.directories import refuse_job
from unrolled.model.directory import open_model
from unrolled.model.files import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from unrolled.training.plan import HEAD_FILE, RECORD_FILE, SCRATCH, FitPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from producer.training.request import FitRequest

#: File in the scratch directory with the standard error of the training process, TensorFlow's messages above all.
LOG_FILE = "log"
#: How much of the log's end is looked through for the reason why a training ended.
_LAST_CHARACTERS = 1 << 14
#: Time that a training has to save its state when it is stopped.
_STOP_SECONDS = 60
#: What is in a finished model's directory.
_RESULT = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, HEAD_FILE, RECORD_FILE)
_AGAIN = "remove it, and the model beside it if there is one, and train again; or choose another --out"


def fit_model(request: FitRequest, device: str, threads: int | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Train a model; another call with the same arguments resumes after an interruption.

    Args:
        request: what the user asks for.
        device: "auto", "cpu" or "gpu".
        threads: CPU threads; None for one on each core.
        say: called with each line that the user should read.

    Returns:
        The content of training.json.

    Raises:
        UnrolledError: something can't be used, or the training failed.
    """
    refuse_job(request.out)
    _refuse_own_corpus(request)
    if (done := _done_before(request)) is None:
        _need_tensorflow(request.out, device)
        inputs = inputs_of(request)
        with held(request.out / SCRATCH) as lock:
            if (done := _done_before(request)) is None:  # another command may have trained it meanwhile
                return _trained(request, prepare(request, inputs, say), device, threads, lock, say)
    _remove_rest(request)
    say(f"{request.out} is trained already; the corpus isn't read again. To train the model again, remove it")
    return done


def _trained(
    request: FitRequest, plan: FitPlan, device: str, threads: int | None, lock: BinaryIO, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train on the rows that are ready; the content of training.json."""
    sides = plan.train, plan.validation
    # Long rows are cut, and each piece counts as a row there.
    usable = plan.corpus["rows"] - plan.corpus["rows_without_targets"]
    rows = "rows" if sum(side.rows for side in sides) == usable else "rows and pieces of long rows"
    say(
        f"{figure(plan.train.targets)} tokens to learn from (all but the first of each row) in "
        f"{figure(plan.train.rows)} {rows}, {figure(plan.validation.targets)} in "
        f"{figure(plan.validation.rows)} held out"
    )
    _train(request.out, plan, device, threads, lock)
    record = read_record(request.out)
    with suppress(TransientError):
        clear(request.out / SCRATCH)  # the training is complete, so nothing needs it
    return record


def _remove_rest(request: FitRequest) -> None:
    """Remove what a command that was killed has left of a training that is complete, as far as possible."""
    scratch = request.out / SCRATCH
    if scratch.is_dir():
        with suppress(UnrolledError), held(scratch):
            if _done_before(request) is not None:
                clear(scratch)


def _need_tensorflow(out: Path, device: str) -> None:
    """Refuse a machine that can't train."""
    if importlib.util.find_spec("tensorflow") is None:
        raise RequestError(
            f"training needs TensorFlow, which is missing: {install_command('producer,worker,tensorflow')}"
        )
    if device == "gpu" and FitPlan.read(out / SCRATCH) is None:
        _need_gpu(out)


def _need_gpu(out: Path) -> None:
    """Refuse a GPU that TensorFlow doesn't see before a corpus is read, which may take hours."""
    command = [sys.executable, "-P", "-m", "worker.training", "--device", "gpu", "--check-device", "--", str(out)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.stdout:
        raise UnrolledError(json.loads(done.stdout)["text"])
    if done.returncode:
        last = last_words(done.stderr.decode(errors="replace"))
        raise UnrolledError(f"TensorFlow can't be started to look for a GPU: {last or f'status {done.returncode}'}")


def _refuse_own_corpus(request: FitRequest) -> None:
    """Refuse a model in the directory of its corpus: its files would be read as texts the next time.

    Raises:
        OptionError: the two are the same.
    """
    out = os.path.realpath(request.out)  # of a circle of links, resolve() would raise
    if request.out.is_dir() and any(
        given != STANDARD_INPUT and os.path.realpath(given) == out for given in request.inputs
    ):
        raise OptionError(f"--out {request.out} is an input, too; use another directory for the model")


def read_record(directory: Path) -> dict[str, Any]:
    """The content of a model directory's training.json.

    Raises:
        JobError: the file doesn't exist, or isn't a JSON object.
    """
    path = directory / RECORD_FILE
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(f"{path}: can't be read ({error}); {_AGAIN}") from error
    if not isinstance(found, dict):
        raise JobError(f"{path}: is not the record of a training; {_AGAIN}")
    return found


def _done_before(request: FitRequest) -> dict[str, Any] | None:
    """The record of this training if it is complete.

    Raises:
        JobError: the directory contains another model, or files of this one are missing or were changed.
    """
    out = request.out
    if (out / RECORD_FILE).exists():
        record, words = read_record(out), request.words(discover(request.inputs, request.source).files)
        before = record.get("request")
        if isinstance(before, dict) and before != words:
            raise JobError(
                f"{out}: contains a model that was trained with {differences(before, words)}; a model can't "
                "be trained further: choose another --out, or remove it"
            )
        if before == words:
            changed = _changed(out, record)
            if not changed:
                return record
            if FitPlan.read(out / SCRATCH) is None:
                files = ", ".join(name for name in _RESULT if (out / name).exists())
                raise JobError(
                    f"{out}: contains the model of this training, but {changed}; restore it from a copy, or remove "
                    f"{files} there and train again"
                )
    # A training that was killed while it wrote its model still has its plan, and writes the same files again.
    there = [name for name in _RESULT if (out / name).exists()]
    if there and FitPlan.read(out / SCRATCH) is None:
        raise JobError(f"{out}: contains the {there[0]} of another model; choose another --out, or remove it")
    return None


def _changed(out: Path, record: dict[str, Any]) -> str:
    """Which files of a finished model were changed or removed since, for people; "" if none was."""
    if missing := [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (out / name).exists()]:
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if record.get("fingerprint") == open_model(out).fingerprint:
        return ""
    return f"{CONFIG_FILE}, {WEIGHTS_FILE} or {TOKENIZER_FILE} was changed or removed since"


def _train(out: Path, plan: FitPlan, device: str, threads: int | None, lock: BinaryIO) -> None:
    command = [sys.executable, "-P", "-m", "worker.training", "--device", device, "--parent", str(os.getpid())]
    if threads is not None:
        command += ["--threads", str(threads)]
    command += ["--", str(out)]  # which may begin with a dash
    failure = ""
    log = out / SCRATCH / LOG_FILE
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, pass_fds=[lock.fileno()]
        ) as process,
    ):
        try:
            with progress("starting TensorFlow", transient=True) as bar:
                display = FitDisplay(plan.options.epochs, bar)
                for event, facts in _events(process):
                    if event == "error":
                        failure = facts["text"]
                    else:
                        display.show(event, facts)
        except BaseException as error:
            _stop(process)
            # A signal after the last epoch comes too late to stop anything: the model is complete.
            if not isinstance(error, KeyboardInterrupt) or process.returncode != 0:
                raise
    if process.returncode == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if process.returncode:
        raise UnrolledError(
            failure
            or f"the training ended with status {process.returncode}{_end_of(log)}, see {as_argument(log)}; "
            "run the same command again to resume"
        )


def _end_of(log: Path) -> str:
    """What a log says at its end, behind a colon; empty where it says nothing."""
    try:
        said = last_words(log.read_text(errors="replace")[-_LAST_CHARACTERS:])
    except OSError:
        return ""
    return f" ({said:.300})" if said else ""


def _events(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in process.stdout or ():
        facts = json.loads(line)
        yield facts.pop("event"), facts


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the training save its state and end. Its reports are still read, because a full pipe would block it."""
    process.send_signal(signal.SIGINT)
    announce("Stopping: the training saves its state, which may take some seconds. Ctrl-C again stops immediately.")
    try:
        process.communicate(timeout=_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
