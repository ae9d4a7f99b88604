"""`python -m worker.training DIRECTORY`: does the training that `unrolled model fit` prepared there.

It says how far it is as JSON lines on standard output, each with an "event": begin, step, validation, epoch, done,
error. When nobody reads them any more it ends: so it doesn't outlive the command that started it, kill -9
included. SIGINT and SIGTERM have it save its state first.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import JobError, UnrolledError
from unrolled.training.plan import SCRATCH, FitPlan
from unrolled.training.token_store import TokenStore

if TYPE_CHECKING:
    from typing import BinaryIO

#: How long the process of a command that was killed may take to notice it.
_LOCK_SECONDS = 10.0
#: Exit statuses: an error that was reported, and a stop that was asked for.
FAILED, STOPPED = 1, 130


def main(arguments: list[str] | None = None) -> int:
    """Train; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker.training")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(arguments)
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        return _fit(given.directory, given.device, given.threads, asked)
    except UnrolledError as error:
        report("error", text=str(error))
        return FAILED


def report(event: str, **facts: Any) -> None:
    """One JSON line; ends the process when nobody hears it."""
    try:
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(FAILED)  # not even the buffer can be closed any more


def _fit(directory: Path, device: str, threads: int | None, asked: list[int]) -> int:
    scratch = directory / SCRATCH
    plan = FitPlan.read(scratch)
    if plan is None:
        raise JobError(f"{directory}: nothing is prepared there; use `unrolled model fit`")
    with _locked(scratch):
        # Here: an argument that is no good needs no ten seconds of loading.
        from worker.training.network import Network, start_tensorflow  # noqa: PLC0415
        from worker.training.record import leave_model  # noqa: PLC0415
        from worker.training.session import Session, StoppedError  # noqa: PLC0415
        from worker.training.unigrams import unigram_logits, unigram_perplexity  # noqa: PLC0415

        size = plan.options.vocab_size
        train, validation = (TokenStore(scratch, name, size) for name in ("train", "validation"))
        logits = unigram_logits(train, size)
        unigrams = unigram_perplexity(logits, validation)
        where = start_tensorflow(device, threads)
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
        model = leave_model(directory, scratch, plan, progress, unigrams)
        report("done", fingerprint=model.fingerprint)
    return 0


def _locked(scratch: Path) -> BinaryIO:
    """Be the only one that trains here, until the file is closed."""
    file = (scratch / "lock").open("ab")
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise JobError(f"{scratch.parent}: another training is at work there; wait for it or stop it") from None
            time.sleep(0.1)
        except OSError as error:
            file.close()
            raise JobError(f"{scratch}: can't be locked ({error.strerror}); choose another --out") from error
        else:
            return file


if __name__ == "__main__":
    sys.exit(main())
