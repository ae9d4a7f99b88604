"""The whole import: read, choose, lay out, compare, and only then write."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from unrolled.model.directory import ModelDirectory, save_model
from worker.model_import.assembly import Assembled, assemble
from worker.model_import.chain.choice import choose
from worker.model_import.errors import ImportRefusedError
from worker.model_import.formats import read_source
from worker.model_import.parity.parity import Parity, check, compare
from worker.model_import.tokenizer_file import read_tokenizer


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a user can say where a file doesn't.

    Attributes:
        embedding: name of the embedding; None: the one that there is.
        layers: names of recurrent layers from the first to the last; none: the one stack that there is.
        residual: names of layers whose input is added to their output, where weights alone don't show it.
        ids_from: 1: ids are the source's, whose row 0 is padding's; 0: they are shifted by one; None: decide.
        max_length: tokens that a row is meant to have; None: the file's, else 512.
        gates: of `LayerConfig.gates`, where the user vouches for a recurrent activation that the file doesn't tell.
        forget_bias: what a TensorFlow 1 program adds to the forget gate; None: 1.0.
        tokenizer: a tokenizer.json to take in.
        parity: the largest difference that is allowed, beyond float32's rounding; None: nothing is compared.
    """

    embedding: str | None = None
    layers: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    ids_from: int | None = None
    max_length: int | None = None
    gates: str | None = None
    forget_bias: float | None = None
    tokenizer: Path | None = None
    parity: float | None = 1e-5


@dataclass(frozen=True, slots=True)
class Imported:
    """What was done.

    Attributes:
        model: the directory.
        format: of the source, for people.
        made: what was taken and what was left.
        parity: what was compared; None where nothing was to be.
    """

    model: ModelDirectory
    format: str
    made: Assembled
    parity: Parity | None


def import_model(source: Path, directory: Path, options: ImportOptions) -> Imported:
    """Take a model over into a model directory.

    Raises:
        ModelError: the source can't be read or taken over, the tokenizer doesn't fit, the outputs differ from the
            original's, or another model is in the directory. Nothing has been written then.
    """
    found = read_source(source, options.gates, options.forget_bias)
    try:
        chain = choose(found, options.embedding, options.layers, options.residual)
        made = assemble(found, chain, options.ids_from, options.max_length)
    except ImportRefusedError as error:
        raise ImportRefusedError(f"{source} ({found.format}): {error}") from error
    tokenizer = None if options.tokenizer is None else read_tokenizer(options.tokenizer, made.config.vocab_size)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise ImportRefusedError(f"{directory.parent}: can't be written ({error.strerror or error})") from error
    parity = None
    try:
        model = save_model(scratch / "model", made.config, made.weights, tokenizer)
        if options.parity is not None:
            parity = compare(model, chain, made.ids_from)
            check(parity, options.parity)
        model = save_model(directory, made.config, made.weights, tokenizer)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Imported(model, found.format, made, parity)
