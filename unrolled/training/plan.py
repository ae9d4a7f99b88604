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
from math import inf
from pathlib import Path
from typing import Any, Self

from unrolled.errors import JobError, RequestError
from unrolled.model.checks import LARGEST_WIDTH
from unrolled.model.config import LARGEST_LENGTH, LARGEST_VOCAB_SIZE, MOST_LAYERS, ModelConfig
from unrolled.settings.declaration import check, option

SCRATCH = "_fit"
PLAN_FILE = "plan.json"
RECORD_FILE = "training.json"
HEAD_FILE = "head.safetensors"
FORMAT_VERSION = 1

#: Rows longer than this many windows are trained as several: else one long row would be a batch of its own, and slow.
SEGMENT_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a model is made and trained; all fields but vocab_size are flags of `unrolled model fit`.

    Raises:
        OptionError: a value isn't allowed.
    """

    vocab_size: int = option(help="Largest token id; 0 is padding.", least=1, most=LARGEST_VOCAB_SIZE)
    max_length: int = option(128, "Truncated-BPTT window, in tokens.", least=1, most=LARGEST_LENGTH)
    lstm_units: int = option(256, "Width of a layer, and of its outputs.", least=1, most=LARGEST_WIDTH)
    lstm_layers: int = option(2, "Number of layers.", least=1, most=MOST_LAYERS)
    embedding_dim: int | None = option(
        None,
        "Width of the embedding.",
        least=1,
        most=LARGEST_WIDTH,
        unset="fourth root of the vocabulary size",
    )
    validation_share: float = option(
        0.05, "Share of the rows that is held out; a row's content alone decides.", above=0, below=1
    )
    epochs: int = option(20, "Largest number of passes over the rows.", least=1)
    patience: int = option(2, "Epochs without a better held-out perplexity after which the training ends.", least=1)
    batch_tokens: int = option(1024, "Number of tokens in a step, padding included.", least=1)
    learning_rate: float = option(0.005, "Adam's initial learning rate; cosine decay to a tenth.", above=0, below=inf)
    keep_probability: float = option(
        0.5, "Probability that dropout keeps an input of a cell; 1 switches dropout off.", above=0, most=1
    )
    clip_norm: float = option(1.0, "Largest global norm of the gradient; a longer one is clipped.", above=0, below=inf)
    seed: int = option(0, "Seed of the weights, the order of the rows, and dropout.", least=0)

    def __post_init__(self) -> None:
        check(self)

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
