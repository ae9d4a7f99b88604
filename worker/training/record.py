"""What a training leaves behind: the model directory, the softmax's weights, and training.json.

training.json says what was trained on what and how well; no time, place or machine stands in it, and the model's
fingerprint covers neither it nor head.safetensors: the workers read neither.
"""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from unrolled.errors import JobError
from unrolled.format.file_info import release
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.model.files import TOKENIZER_FILE
from unrolled.store.publish import publish_bytes
from unrolled.training.plan import FORMAT_VERSION, HEAD_FILE, RECORD_FILE, FitPlan
from worker.training.checkpoint import load_state
from worker.training.progress import Progress


def leave_model(directory: Path, scratch: Path, plan: FitPlan, progress: Progress, unigrams: float) -> ModelDirectory:
    """Write everything; once more with the same training it changes nothing.

    Args:
        directory: the model's.
        scratch: of the training.
        plan: what was asked for.
        progress: at the training's end.
        unigrams: perplexity of the rows held out by frequencies alone.

    Raises:
        ModelError: another model is there.
        JobError: the best weights are gone.
        TransientError: the disk is full or failed.
    """
    config = plan.options.config()
    best = load_state(scratch / f"best-{progress.best_epoch}.safetensors")
    if best is None:
        raise JobError(f"{scratch}: lacks the weights of epoch {progress.best_epoch}; remove {scratch} and fit again")
    tokenizer = scratch / TOKENIZER_FILE
    text = tokenizer.read_text(encoding="utf-8") if tokenizer.is_file() else None
    weights, head = ({name: best[0][name] for name in names} for names in _names(best[0], plan))
    publish_bytes(directory / HEAD_FILE, save({name.removeprefix("head."): array for name, array in head.items()}))
    model = save_model(directory, config, weights, text)
    publish_bytes(directory / RECORD_FILE, _record(plan, progress, unigrams, model).encode())
    return model


def _names(tensors: dict[str, Any], plan: FitPlan) -> tuple[list[str], list[str]]:
    model = list(plan.options.config().shapes())
    return model, [name for name in tensors if name not in model]


def _record(plan: FitPlan, progress: Progress, unigrams: float, model: ModelDirectory) -> str:
    options = asdict(plan.options) | {"embedding_dim": model.config.embedding_dim}
    record = {
        "format_version": FORMAT_VERSION,
        "fingerprint": model.fingerprint,
        "request": {name: value for name, value in plan.request.items() if name != "files"},
        "corpus": plan.corpus,
        "train": asdict(plan.train) | {"targets": plan.train.targets},
        "validation": asdict(plan.validation) | {"targets": plan.validation.targets},
        "options": options,
        "parameters": model.config.parameters,
        "unigram_perplexity": unigrams,
        "validation_perplexity": progress.best,
        "best_epoch": progress.best_epoch,
        "epochs": progress.epochs,
        "versions": {"unrolled": release(), **{name: version(name) for name in ("tensorflow", "keras", "numpy")}},
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
