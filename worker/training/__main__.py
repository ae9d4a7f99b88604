"""`python -m worker.training DIRECTORY` runs the training that `unrolled model fit` has prepared there.

It reports its progress as JSON lines on standard output, each with an "event": begin, step, validation, epoch, done or
error. It doesn't outlive the command that started it, even if that was killed: Linux ends it then, and elsewhere it
ends at its next report. The command holds the lock of the training, and this process inherits it. On SIGINT, SIGTERM
and SIGHUP it saves its state first. With --check-device it only tells whether it could use the device.

    session        epochs, early stopping, resuming
    device         the device on which TensorFlow trains
    network        the model, a softmax over the vocabulary, and one step of Adam
    cross_entropy  the loss of the softmax and its gradients, in bounded memory
    batches        padded batches of rows of similar length
    unigrams       the perplexity of token frequencies alone, which the model must beat
    progress       the numbers that a training resumes with
    checkpoint     the state of a training in one file
    record         the finished model directory and its training.json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from unrolled.errors import JobError, UnrolledError
from unrolled.process.parent import end_with_parent
from unrolled.training.plan import SCRATCH, FitPlan
from unrolled.training.token_store import TokenStore
from worker.training.record import save_result
from worker.training.session import Session, StoppedError
from worker.training.unigrams import unigram_logits, unigram_perplexity

#: Exit statuses: after a reported error, and after SIGINT, SIGTERM or SIGHUP.
FAILED, STOPPED = 1, 130


def main(arguments: list[str] | None = None) -> int:
    """Train, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker.training")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--check-device", action="store_true")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args(arguments)
    if given.parent is not None:
        end_with_parent(given.parent)  # at once: what is imported next takes many seconds
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # which it is under nohup
            signal.signal(number, lambda number, _: asked.append(number))
    try:
        if given.check_device:
            from worker.training.device import start_tensorflow  # noqa: PLC0415 - see `_fit`

            start_tensorflow(given.device, given.threads)
            return 0
        return _fit(given.directory, given.device, given.threads, asked)
    except UnrolledError as error:
        report("error", text=str(error))
        return FAILED


def report(event: str, **facts: Any) -> None:
    """Write one JSON line, or end the process if standard output is closed."""
    try:
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(FAILED)  # a normal exit would fail to flush standard output


def _fit(directory: Path, device: str, threads: int | None, asked: list[int]) -> int:
    scratch = directory / SCRATCH
    plan = FitPlan.read(scratch)
    if plan is None:
        raise JobError(f"{directory}: no training is prepared there; start one with `unrolled model fit`")
    # Imported late, so that a bad argument fails before TensorFlow's ten-second import.
    from worker.models.tensorflow import in_float32  # noqa: PLC0415 - see above
    from worker.training.device import start_tensorflow  # noqa: PLC0415 - see above
    from worker.training.network import Network  # noqa: PLC0415 - see above

    size = plan.options.vocab_size
    train, validation = (TokenStore(scratch, name, size) for name in ("train", "validation"))
    logits = unigram_logits(train, size)
    unigrams = unigram_perplexity(logits, validation)
    where = start_tensorflow(device, threads)
    with in_float32():
        network = Network(plan.options, logits)
    session = Session(plan, scratch, train, validation, network, report, lambda: bool(asked))
    at = session.progress
    report(
        "begin", device=where, parameters=network.parameters, unigram_perplexity=unigrams, epoch=at.epoch + 1,
        targets=plan.train.targets, resumed=bool(at.epoch or at.batches), epochs=at.epochs,
    )  # fmt: skip
    try:
        progress = session.run()
    except StoppedError:
        return STOPPED
    model = save_result(directory, scratch, plan, progress, unigrams)
    report("done", fingerprint=model.fingerprint)
    return 0


if __name__ == "__main__":
    sys.exit(main())
