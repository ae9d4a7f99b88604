"""The plan of a training, which the command `unrolled model fit` writes and the process of the training reads.

While a model is trained, its directory contains a directory `_fit`, which is removed at the end:

    plan.json                a `FitPlan`; written last, so that everything else is complete if it exists
    train.arrow              the rows to learn from, see `unrolled.training.token_store`
    validation.arrow         the held-out rows
    tokenizer.json           absent if the corpus contains token ids
    checkpoint.safetensors   the state of the training, see `worker.training.checkpoint`
    best-N.safetensors       the weights after epoch N, the best epoch so far
    lock                     held by the command, and by its process that trains, which inherits it
    diverged                 exists if the training diverged, so that one with other options may take its place
"""

# Over 150 lines: the options of a training, and the plan that is made with them.

import hashlib
import json
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any, Self

from unrolled.errors import JobError, RequestError
from unrolled.model.checks import LARGEST_WIDTH, MOST_LAYERS
from unrolled.model.config import LARGEST_LENGTH, LARGEST_VOCAB_SIZE, ModelConfig
from unrolled.model.files import PLAN_FILE, TOKENIZER_FILE, TRAINING_FOLDER
from unrolled.settings.declaration import check, option

SCRATCH = TRAINING_FOLDER
DIVERGED_FILE = "diverged"
RECORD_FILE = "training.json"
HEAD_FILE = "head.safetensors"
FORMAT_VERSION = 1

#: Rows longer than this many windows are cut: a long row would be the only one in its batch, which is slow.
SEGMENT_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class FitOptions:
    """The sizes of the model and the options of its training; each field except vocab_size is a flag of `model fit`.

    `benchmarks/fit_choices.py` measured the defaults.

    Raises:
        OptionError: a value isn't allowed.
    """

    vocab_size: int = option(help="Largest token id; 0 is padding.", least=1, most=LARGEST_VOCAB_SIZE)
    max_length: int = option(128, "Truncated-BPTT window, in tokens.", least=1, most=LARGEST_LENGTH)
    lstm_units: int = option(256, "Width of a layer, and of its outputs.", least=1, most=LARGEST_WIDTH)
    lstm_layers: int = option(1, "Number of layers.", least=1, most=MOST_LAYERS)
    embedding_dim: int = option(128, "Width of the embedding.", least=1, most=LARGEST_WIDTH)
    validation_share: float = option(
        0.05, "Share of the rows that is held out; a row's content alone decides.", above=0, below=1
    )
    epochs: int = option(20, "Largest number of passes over the rows.", least=1)
    patience: int = option(2, "Epochs without a better held-out perplexity after which the training ends.", least=1)
    batch_tokens: int = option(1024, "Number of tokens in a step, padding included.", least=1)
    learning_rate: float = option(0.01, "Adam's initial learning rate; cosine decay to a tenth.", above=0, below=inf)
    keep_probability: float = option(
        0.8, "Probability that dropout keeps an input of a cell; 1 switches dropout off.", least=0.01, most=1
    )
    clip_norm: float = option(1.0, "Largest global norm of the gradient; a longer one is clipped.", above=0, below=inf)
    seed: int = option(0, "Seed of the weights, the order of the rows, and dropout.", least=0)

    def __post_init__(self) -> None:
        check(self)

    def config(self) -> ModelConfig:
        """The model's configuration.

        Raises:
            ModelError: the sizes make too large a model.
        """
        return ModelConfig.stacked(
            self.vocab_size, self.max_length, self.lstm_units, self.lstm_layers, self.embedding_dim
        )


@dataclass(frozen=True, slots=True)
class RowCount:
    """The size of the training rows or of the held-out rows.

    Attributes:
        rows: number of rows of at least two tokens; long ones are cut (see `SEGMENT_WINDOWS`).
        tokens: number of ids in them.
    """

    rows: int
    tokens: int

    @property
    def targets(self) -> int:
        """Number of tokens to predict: all except the first of each row."""
        return self.tokens - self.rows


def digest_of(content: bytes | None) -> str | None:
    """The SHA-256 of a tokenizer.json; None if there is none."""
    return None if content is None else hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class FitPlan:
    """A training whose rows are ready.

    Attributes:
        options: the sizes of the model and the options of the training.
        request: the options of the command, with sizes and modification times of the inputs; a command resumes the
            training only if its options are equal, and the inputs' states or their rows are.
        corpus: facts about the corpus for training.json.
        train: the size of the rows to learn from.
        validation: the size of the held-out rows.
        tokenizer: SHA-256 of the tokenizer.json that made the rows; None if there is none.
    """

    options: FitOptions
    request: dict[str, Any]
    corpus: dict[str, Any]
    train: RowCount
    validation: RowCount
    tokenizer: str | None = None

    def tokenizer_in(self, scratch: Path) -> str | None:
        """The tokenizer.json that made the rows, as it was then; None if there is none.

        Raises:
            JobError: it is missing, or was changed.
        """
        path = scratch / TOKENIZER_FILE
        content = path.read_bytes() if path.is_file() else None
        if digest_of(content) != self.tokenizer:
            raise JobError(f"{path}: is missing, damaged, or of another training; remove {scratch} and fit again")
        return None if content is None else content.decode("utf-8-sig")

    def to_json(self) -> str:
        """The text of plan.json."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, scratch: Path) -> Self | None:
        """Read the plan in a directory `_fit`; None if there is none.

        Raises:
            JobError: it can't be read, or has the format of another version.
        """
        path = scratch / PLAN_FILE
        try:
            return cls._from_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RequestError) as error:
            raise JobError(f"{path}: is not a training's plan ({error}); remove {scratch} and start again") from error

    @classmethod
    def _from_json(cls, text: bytes) -> Self:
        found = json.loads(text)
        version = found.pop("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version {version!r:.80}, but this program reads {FORMAT_VERSION}")
        options = FitOptions(**found.pop("options"))
        train, validation = (RowCount(**found.pop(name)) for name in ("train", "validation"))
        request, corpus, tokenizer = found.pop("request"), found.pop("corpus"), found.pop("tokenizer")
        if found or not isinstance(request, dict) or not isinstance(corpus, dict):
            raise ValueError(f"unknown fields {sorted(found)!s:.200}")
        return cls(options, request, corpus, train, validation, tokenizer)
