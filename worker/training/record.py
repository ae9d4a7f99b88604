"""The result of a training: the model directory, the weights of the softmax, and training.json.

training.json records the options, the corpus and the perplexities, but no time and no machine. Workers read neither
training.json nor head.safetensors, so the model's fingerprint covers neither.
"""

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from unrolled.format.file_info import release
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.store.publish import publish_bytes
from unrolled.training.plan import FORMAT_VERSION, HEAD_FILE, RECORD_FILE, FitPlan
from worker.training.checkpoint import load_best
from worker.training.progress import Progress

#: What else decides how a training goes. A package may bring a library under another name than the library's.
_LIBRARIES = ("tensorflow", "keras", "numpy")


def save_result(directory: Path, scratch: Path, plan: FitPlan, progress: Progress, unigrams: float) -> ModelDirectory:
    """Write the result; writing it again changes nothing.

    Args:
        directory: the model directory.
        scratch: the directory of the training.
        plan: the training.
        progress: its state at the end.
        unigrams: perplexity of the held-out rows by token frequencies alone.

    Raises:
        ModelError: the directory contains another model.
        JobError: the best weights, or the tokenizer, are missing or damaged.
        TransientError: the disk is full or failed.
    """
    config = plan.options.config()
    best = load_best(scratch, progress.best_epoch)
    text = plan.tokenizer_in(scratch)
    weights, head = ({name: best[name] for name in names} for names in _names(best, plan))
    model = save_model(directory, config, weights, text)  # first: it refuses the directory of another model
    publish_bytes(directory / HEAD_FILE, save({name.removeprefix("head."): array for name, array in head.items()}))
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
        "versions": {"unrolled": release(), **{name: import_module(name).__version__ for name in _LIBRARIES}},
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
