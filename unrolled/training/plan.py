"""What a training is asked for: agreed between the command that prepares it and the process that does it.

A model directory that is being trained holds one directory more, `_fit`, which goes when the model is there:

    plan.json                a `FitPlan`; written last, so that the rest is complete where it is
    train.arrow, validation.arrow   the rows, see `unrolled.training.token_store`
    tokenizer.json           absent where the corpus holds token ids
    checkpoint.safetensors   where the training stands, see `worker.training.checkpoint`
    best-N.safetensors       the weights after epoch N, the best so far
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from unrolled.errors import JobError, RequestError
from unrolled.model.config import ModelConfig

SCRATCH = "_fit"
PLAN_FILE = "plan.json"
RECORD_FILE = "training.json"
HEAD_FILE = "head.safetensors"
FORMAT_VERSION = 1

#: Rows longer than this many windows are trained as several: else one long row would be a batch of its own, and slow.
SEGMENT_WINDOWS = 16

_POSITIVE = ("epochs", "patience", "batch_tokens", "lstm_units", "lstm_layers", "max_length")


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a model is made and trained.

    Attributes:
        vocab_size: the largest token id; the softmax has as many outputs.
        max_length: tokens of a window: gradients go back no further, states go on from one to the next.
        lstm_units: width of a layer.
        lstm_layers: how many.
        embedding_dim: width of the embedding; None for the fourth root of vocab_size.
        validation_share: of the rows, held out.
        epochs: passes over the training rows, at most.
        patience: epochs without a better validation perplexity after which the training ends.
        batch_tokens: token ids in a step, about; padding counts.
        learning_rate: Adam's at the start; it falls along a cosine to a tenth at the last epoch's end.
        keep_probability: of each of a cell's inputs, in training.
        clip_norm: the gradient's global norm, at most.
        seed: of weights, order and dropout.

    Raises:
        RequestError: a value is out of its range.
    """

    vocab_size: int
    max_length: int = 128
    lstm_units: int = 256
    lstm_layers: int = 2
    embedding_dim: int | None = None
    validation_share: float = 0.05
    epochs: int = 20
    patience: int = 2
    batch_tokens: int = 1024
    learning_rate: float = 0.005
    keep_probability: float = 0.5
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise RequestError(f"--{name.replace('_', '-')} is {getattr(self, name)}; allowed: 1 or more")
        if self.seed < 0:
            raise RequestError(f"--seed is {self.seed}; allowed: 0 or more")
        if not 0 < self.validation_share < 1:
            raise RequestError(f"--validation-share is {self.validation_share}; allowed: between 0 and 1")
        if not 0 < self.keep_probability <= 1:
            raise RequestError(f"--keep-probability is {self.keep_probability}; allowed: above 0, and 1 at most")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise RequestError(f"--{name.replace('_', '-')} is {value}; allowed: a number above 0")

    def config(self) -> ModelConfig:
        """The model's sizes.

        Raises:
            ModelError: they make no model.
        """
        return ModelConfig.stacked(
            self.vocab_size, self.max_length, self.lstm_units, self.lstm_layers, self.embedding_dim
        )


@dataclass(frozen=True, slots=True)
class RowCount:
    """One side of the split.

    Attributes:
        rows: rows, of at least two tokens each (long ones cut, see `SEGMENT_WINDOWS`).
        tokens: ids in them.
    """

    rows: int
    tokens: int

    @property
    def targets(self) -> int:
        """Tokens to be predicted: every one but a row's first."""
        return self.tokens - self.rows


@dataclass(frozen=True, slots=True)
class FitPlan:
    """A training whose rows are ready.

    Attributes:
        options: how the model is made and trained.
        request: the command's own words, to recognise it by; with the inputs' sizes and times of change.
        corpus: what was read: facts for the record.
        train: the rows to learn from.
        validation: the rows held out.
    """

    options: FitOptions
    request: dict[str, Any]
    corpus: dict[str, Any]
    train: RowCount
    validation: RowCount

    def to_json(self) -> str:
        """The text of plan.json."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, scratch: Path) -> Self | None:
        """The plan in a scratch directory; None where there is none.

        Raises:
            JobError: it can't be read, or is another version's.
        """
        path = scratch / PLAN_FILE
        try:
            return cls._from_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RequestError) as error:
            raise JobError(f"{path}: is no plan of a training ({error}); remove {scratch} and start again") from error

    @classmethod
    def _from_json(cls, text: bytes) -> Self:
        found = json.loads(text)
        version = found.pop("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version {version!r:.80}, this program reads {FORMAT_VERSION}")
        options = FitOptions(**found.pop("options"))
        train, validation = (RowCount(**found.pop(name)) for name in ("train", "validation"))
        request, corpus = found.pop("request"), found.pop("corpus")
        if found or not isinstance(request, dict) or not isinstance(corpus, dict):
            raise ValueError(f"unknown fields {sorted(found)!s:.200}")
        return cls(options, request, corpus, train, validation)
