"""A training from its plan to its best weights: epochs, early stopping, and resuming.

The plan determines the weights: on one kind of CPU, a plan always gives the same weights, even if the process was
killed in between. On a GPU, cuDNN may round differently in each run.

Over 150 lines, because epochs, checkpoints and early stopping all change the same state.
"""

# Over 150 lines: one training from its start to its last epoch.

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from unrolled.errors import JobError, RequestError
from unrolled.training.plan import DIVERGED_FILE
from worker.training.batches import training_batches, validation_batches, windows
from worker.training.checkpoint import CHECKPOINT_FILE, best_file, load_best, load_state, save_state
from worker.training.progress import Progress, perplexity

if TYPE_CHECKING:
    from worker.training.network import Network

#: The shortest time between two checkpoints, in seconds.
CHECKPOINT_SECONDS = 15.0
#: The time between two checkpoints is at least this many times as long as writing one takes.
_CHECKPOINT_SHARE = 20
_REPORT_SECONDS = 0.25
#: A perplexity that is so many times as large as that of guessing, which is the number of tokens, is a failure.
_DIVERGED = 10

if TYPE_CHECKING:
    from pathlib import Path

    from unrolled.training.plan import FitPlan
    from unrolled.training.token_store import TokenStore
    from worker.training.network import Network

Report = Callable[..., None]


class StoppedError(Exception):
    """The training was asked to stop; its state is saved."""


class Session:
    """Runs a training, or resumes it from its checkpoint.

    Args:
        plan: the training.
        scratch: the directory of the checkpoints.
        train: the rows to learn from.
        validation: the held-out rows.
        network: the network that learns.
        report: called with the name of an event and facts about it.
        stopped: called after each batch; if it returns True, the state is saved and the training stops.

    Raises:
        JobError: the checkpoint is damaged or of another version.
    """

    def __init__(
        self,
        plan: FitPlan,
        scratch: Path,
        train: TokenStore,
        validation: TokenStore,
        network: Network,
        report: Report,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan, self._options = plan, plan.options
        self._scratch = scratch
        self._train, self._validation = train, validation
        self._network = network
        self._report, self._reported = report, 0.0
        self._stopped = stopped
        self._saved, self._pause = time.monotonic(), CHECKPOINT_SECONDS
        self.progress = Progress()
        (scratch / DIVERGED_FILE).unlink(missing_ok=True)  # what is in the directory is in use again
        if (found := load_state(scratch / CHECKPOINT_FILE)) is not None:
            self._restore(*found)
            if self.progress.best_epoch:  # before more epochs are trained, which would be in vain without them
                load_best(scratch, self.progress.best_epoch)

    def run(self) -> Progress:
        """Train until all epochs are done, or `patience` of them have brought no better result.

        Raises:
            StoppedError: `stopped` returned True.
            RequestError: the training diverged.
            TransientError: a checkpoint can't be written.
        """
        while not self.progress.ended(self._options.epochs, self._options.patience):
            began = time.monotonic()
            self._learn()
            self._end_epoch(time.monotonic() - began)
        return self.progress

    def best_path(self, epoch: int) -> Path:
        """The file of the weights after an epoch."""
        return best_file(self._scratch, epoch)

    def _restore(self, tensors: dict[str, Any], progress: dict[str, Any]) -> None:
        try:
            self._network.restore(tensors)
            self.progress = Progress(**progress)
        except (KeyError, ValueError, TypeError) as error:
            path = self._scratch / CHECKPOINT_FILE
            raise JobError(
                f"{path}: is of another version of unrolled or Keras ({error}); continue with that version, or remove "
                "the file, and the training starts from the beginning"
            ) from error

    def _learn(self) -> None:
        at, options = self.progress, self._options
        seed = (options.seed, at.epoch)
        batches = training_batches(self._train, options.batch_tokens, options.max_length, seed, at.batches)
        for batch in batches:
            states = None
            for window in windows(batch, options.max_length):
                loss, states = self._network.train(window, states, self._learning_rate())
                if not math.isfinite(loss):
                    raise self._diverged(f"loss became {loss}")
                at.loss += loss
                at.targets += int((window.targets > 0).sum())
                self._show("step", at.loss, at.targets, self._plan.train.targets)
            at.batches += 1
            self._maybe_save()

    def _learning_rate(self) -> float:
        """The learning rate now: it falls along a cosine to a tenth at the end of the last epoch."""
        done = (self.progress.epoch + self.progress.targets / self._plan.train.targets) / self._options.epochs
        return self._options.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * min(done, 1))) / 2)

    def _evaluate(self) -> float:
        """The perplexity of the held-out rows."""
        total, targets = 0.0, 0
        for batch in validation_batches(self._validation, self._options.batch_tokens, self._options.max_length):
            states = None
            for window in windows(batch, self._options.max_length):
                loss, states = self._network.evaluate(window, states)
                total += loss
                targets += int((window.targets > 0).sum())
                self._show("validation", total, targets, self._plan.validation.targets)
        return perplexity(total, targets)

    def _end_epoch(self, seconds: float) -> None:
        at = self.progress
        found = {"epoch": at.epoch + 1, "train_perplexity": perplexity(at.loss, at.targets)}
        found["validation_perplexity"] = self._evaluate()
        before = at.best_epoch
        guessing = self._options.config().vocab_size
        is_overfit = found["train_perplexity"] < guessing  # rows of the corpus are learnt, and others aren't
        most = math.inf if is_overfit else _DIVERGED * guessing
        if not found["validation_perplexity"] <= most:  # not so of nan either
            raise self._diverged(f"perplexity of the held-out rows became {found['validation_perplexity']:.3g}")
        better = found["validation_perplexity"] < at.best
        at.epochs.append(found)
        if better:
            # Before the checkpoint that names this epoch, and not over the last best weights: so a whole set of best
            # weights exists at any moment.
            at.best_epoch = at.epoch + 1
            weights = {**self._network.model_weights(), **self._network.head_weights()}
            save_state(self.best_path(at.best_epoch), weights, {"epoch": at.best_epoch})
        at.epoch, at.batches, at.loss, at.targets = at.epoch + 1, 0, 0.0, 0
        self._save()
        if better and before:
            self.best_path(before).unlink(missing_ok=True)
        self._report("epoch", **found, best=better, seconds=seconds)

    def _diverged(self, how: str) -> RequestError:
        with suppress(OSError):  # without the file, the next command says what to remove
            (self._scratch / DIVERGED_FILE).touch()
        return RequestError(
            f"the training diverged: in epoch {self.progress.epoch + 1} the {how}; start again with a lower "
            f"--learning-rate than {self._options.learning_rate:g}, or a lower --clip-norm"
        )

    def _maybe_save(self) -> None:
        if self._stopped():
            self._save()
            raise StoppedError
        if time.monotonic() - self._saved >= self._pause:
            self._save()

    def _save(self) -> None:
        began = time.monotonic()
        save_state(self._scratch / CHECKPOINT_FILE, self._network.state(), asdict(self.progress))
        self._saved = time.monotonic()
        self._pause = max(CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * (self._saved - began))

    def _show(self, event: str, loss: float, done: int, total: int) -> None:
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._report(
                event, epoch=self.progress.epoch + 1, done=done, total=total, perplexity=perplexity(loss, done)
            )
