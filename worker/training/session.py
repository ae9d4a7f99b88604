"""A training from its plan to its best weights: epochs, early stopping, and going on where it was.

Everything that decides the weights is in the plan: the same plan gives the same weights on the same kind of
CPU, however often the process was killed meanwhile. On a GPU cuDNN may round otherwise from run to run.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from unrolled.errors import JobError, RequestError
from unrolled.training.plan import FitPlan
from unrolled.training.token_store import TokenStore
from worker.training.batches import Window, training_batches, validation_batches, windows
from worker.training.checkpoint import CHECKPOINT_FILE, load_state, save_state
from worker.training.progress import Progress, perplexity

#: Between two checkpoints, at least; more where writing one takes long.
CHECKPOINT_SECONDS = 15.0
#: Of the time, at most, goes into checkpoints: one in so many parts.
_CHECKPOINT_SHARE = 20
_REPORT_SECONDS = 0.25

Report = Callable[..., None]


class Learner(Protocol):
    """What learns: a `Network`."""

    def train(self, window: Window, states: Any, learning_rate: float) -> tuple[float, Any]:
        """See `Network.train`."""

    def evaluate(self, window: Window, states: Any) -> tuple[float, Any]:
        """See `Network.evaluate`."""

    def state(self) -> dict[str, Any]:
        """See `Network.state`."""

    def restore(self, state: dict[str, Any]) -> None:
        """See `Network.restore`."""

    def model_weights(self) -> dict[str, Any]:
        """See `Network.model_weights`."""

    def head_weights(self) -> dict[str, Any]:
        """See `Network.head_weights`."""


class StoppedError(Exception):
    """The training was asked to stop; its state is saved."""


class Session:
    """Runs a training in its scratch directory.

    Args:
        plan: what is asked for.
        scratch: the directory of the checkpoints.
        train: the rows to learn from.
        validation: the rows held out.
        network: what learns.
        report: called with an event's name and facts.
        stopped: asked after each batch; True saves the state and ends.
    """

    def __init__(
        self,
        plan: FitPlan,
        scratch: Path,
        train: TokenStore,
        validation: TokenStore,
        network: Learner,
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
        if (found := load_state(scratch / CHECKPOINT_FILE)) is not None:
            self._restore(*found)

    def run(self) -> Progress:
        """Train until the epochs are done, or for `patience` of them nothing got better.

        Raises:
            StoppedError: `stopped` said so.
            RequestError: the loss is no number any more.
            TransientError: a checkpoint can't be written.
        """
        while not self.progress.ended(self._options.epochs, self._options.patience):
            began = time.monotonic()
            self._learn()
            self._end_epoch(time.monotonic() - began)
        return self.progress

    def best_path(self, epoch: int) -> Path:
        """Where the weights after an epoch are kept."""
        return self._scratch / f"best-{epoch}.safetensors"

    def _restore(self, tensors: dict[str, Any], progress: dict[str, Any]) -> None:
        try:
            self._network.restore(tensors)
            self.progress = Progress(**progress)
        except (KeyError, ValueError, TypeError) as error:
            path = self._scratch / CHECKPOINT_FILE
            raise JobError(
                f"{path}: is of another version of unrolled or Keras ({error}); go on with that version, or remove the "
                "file, and the training starts from the beginning"
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
                    raise RequestError(
                        f"the training went astray: in epoch {at.epoch + 1} the loss became {loss}; start again with "
                        f"a lower --learning-rate than {options.learning_rate:g}, or a lower --clip-norm"
                    )
                at.loss += loss
                at.targets += int((window.targets > 0).sum())
                self._show("step", at.loss, at.targets, self._plan.train.targets)
            at.batches += 1
            self._maybe_save()

    def _learning_rate(self) -> float:
        """Along a cosine, from all of it to a tenth at the end of the last epoch."""
        done = (self.progress.epoch + self.progress.targets / self._plan.train.targets) / self._options.epochs
        return self._options.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * min(done, 1))) / 2)

    def _evaluate(self) -> float:
        """Perplexity of the rows held out."""
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
        better = found["validation_perplexity"] < at.best
        at.epochs.append(found)
        if better:
            # Under its own name, and before the checkpoint that speaks of it: whatever is lost, one of them is whole.
            at.best_epoch = at.epoch + 1
            weights = {**self._network.model_weights(), **self._network.head_weights()}
            save_state(self.best_path(at.best_epoch), weights, {"epoch": at.best_epoch})
        at.epoch, at.batches, at.loss, at.targets = at.epoch + 1, 0, 0.0, 0
        self._save()
        if better and before:
            self.best_path(before).unlink(missing_ok=True)
        self._report("epoch", **found, best=better, seconds=seconds)

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
