"""Can the model be used?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.doctor.check import Check
from unrolled.errors import UnrolledError
from unrolled.job.offer import SHORT
from unrolled.model.directory import open_model

if TYPE_CHECKING:
    from pathlib import Path

    from unrolled.model.directory import ModelDirectory


def check_model(path: Path) -> tuple[ModelDirectory | None, list[Check]]:
    """Read a model directory whole.

    Returns:
        The model, None where it can't be used; and the checks.
    """
    try:
        model = open_model(path)
        model.weights()
    except UnrolledError as error:
        return None, [Check("model", "fail", str(error))]
    config = model.config
    size = config.describe_layers() if config.vector_dim else f"{config.describe_layers()}, {config.vocab_size:,} ids"
    return model, [Check("model", "ok", f"{model.fingerprint[:SHORT]}…: {size}"), _check_tokenizer(model)]


def _check_tokenizer(model: ModelDirectory) -> Check:
    if model.config.vector_dim is not None:
        return Check("tokenizer", "ok", "the model needs none, because it reads vectors")
    if model.tokenizer_path is None:
        advice = (
            "rows of token ids work; for text, give `unrolled model import` the --tokenizer of its training. If "
            "the model isn't trained, make one: unrolled tokenizer fit"
        )
        return Check("tokenizer", "ok", "the model has none", advice)
    from tokenizers import Tokenizer  # noqa: PLC0415 - 0.1 s that a run without a model doesn't need

    try:
        largest = max(Tokenizer.from_file(str(model.tokenizer_path)).get_vocab().values(), default=0)
    except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exception
        return Check(
            "tokenizer",
            "fail",
            f"{model.tokenizer_path}: {error}",
            "restore it from your copy, or fit it again",
        )
    if largest > model.config.vocab_size:
        found = f"gives ids up to {largest:,}, the model knows 1 to {model.config.vocab_size:,}"
        return Check("tokenizer", "fail", found, "use the tokenizer that the model was trained with")
    return Check("tokenizer", "ok", f"ids up to {largest:,}")
