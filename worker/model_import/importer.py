"""The whole import: read, select, convert, compare, and only then write."""

# Over 150 lines: the options of an import, its steps in their order, and what each refuses or notes.

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import ModelError
from unrolled.job.directories import refuse_job, refuse_training
from unrolled.model.directory import ModelDirectory, check_is_writable, config_there, save_model
from unrolled.model.files import CONFIG_FILE, TOKENIZER_FILE
from unrolled.model.weights import check_finite
from unrolled.store.lock import lock_file
from worker.model_import.assembly import Assembled, assemble
from worker.model_import.errors import ImportRefusedError
from worker.model_import.parity.comparison import Parity, check, compare
from worker.model_import.readers import resets
from worker.model_import.readers.formats import read_source
from worker.model_import.selection.choice import choose
from worker.model_import.selection.initial_states import bring_states
from worker.model_import.selection.leftovers import has_shape_of_states
from worker.model_import.selection.stack import Asked, AskedPadding
from worker.model_import.tokenizer_file import own_tokenizer, read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.model.config import ModelConfig
    from worker.model_import.found import Found
    from worker.model_import.selection.stack import Stack

#: Where the new model is compared with the original, and the file in it that is locked meanwhile.
_SCRATCH, _LOCK = ".import-", "in-use"
#: What a file of arrays alone can't show.
_ARRAYS_ALONE = (
    "arrays alone, and nothing in them shows how data flows: a function between layers, a direction, padding, a scale "
    "or an initial state that only your program has isn't imported. Compare a few rows: unrolled model compare"
)
#: A younger folder may be one whose import is about to lock it.
_OLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The user's statements about what the file doesn't show.

    Attributes:
        embedding: name of the embedding to import; None for the only one.
        layers: names of the recurrent layers, first to last; empty for the only stack.
        residual: names of layers whose input is added to their output, if the file has only weights.
        leave: names of arrays or modules that are not between ids and states, if the file has only weights.
        maps: Linear modules between the embedding and the first layer, "NAME" or "NAME:FUNCTION", if the file has only
            weights.
        top: name of the last function of each token's vector above the last recurrent layer to import; None for none.
        one_hot: whether the vectors that the first layer reads are ids as one-hot vectors.
        unpadded: whether rows may get the vectors without padding, if the source computes padding.
        padding: how the source's program pads rows, if it computes padding.
        ids_from: 1 if ids are the source's, whose row 0 is padding; 0 if they are the source's plus one; None to
            decide by the file.
        max_length: tokens that a row is meant to have; None for the file's length, or 512.
        gates: the activation of the gates, one of `LayerConfig`'s, if the file doesn't say it.
        reset: "before" or "after", for GRUs whose arrays don't show where they reset the state.
        forget_bias: what a TensorFlow 1 program adds to the forget gate; None for 1.0.
        cell_clip: the largest magnitude of cell states, if the file has only weights; None if they aren't clipped.
        projection_clip: and of projected states.
        vectors: whether rows contain the vectors that the source reads, in place of ids.
        initial_states: whether rows bring the states that layers start from.
        tokenizer: a tokenizer.json to include.
        elmo_options: the file of options of an ELMo; None for the one beside its weights.
        vocabulary: the words that an ELMo will read.
        parity: the largest difference allowed beyond float32's rounding; None to compare nothing.
    """

    embedding: str | None = None
    layers: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    top: str | None = None
    one_hot: bool = False
    unpadded: bool = False
    padding: AskedPadding | None = None
    ids_from: int | None = None
    max_length: int | None = None
    gates: str | None = None
    reset: str | None = None
    forget_bias: float | None = None
    cell_clip: float | None = None
    projection_clip: float | None = None
    vectors: bool = False
    initial_states: bool = False
    tokenizer: Path | None = None
    elmo_options: Path | None = None
    vocabulary: Path | None = None
    parity: float | None = 1e-5

    @property
    def asked(self) -> Asked:
        """The statements that concern the selection."""
        return Asked(
            *(self.embedding, self.layers, self.residual, self.leave, self.maps, self.top),
            *(self.one_hot, self.unpadded, self.padding, self.cell_clip, self.projection_clip, self.vectors),
        )


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished import.

    Attributes:
        model: the new model directory.
        format: the source's format, for messages.
        made: what was imported and what was left out.
        parity: the results of the comparison; None if nothing was compared.
        caution: what nothing in the file proves; "" if the file shows its whole computation.
    """

    model: ModelDirectory
    format: str
    made: Assembled
    parity: Parity | None
    caution: str = ""


def import_model(
    source: Path, directory: Path, options: ImportOptions, notice: Callable[[str], None] = lambda _: None
) -> Imported:
    """Import a model into a model directory.

    Args:
        source: the file or directory of the model.
        directory: the new model directory.
        options: the user's statements.
        notice: called with a line for people when a long step begins.

    Raises:
        ModelError: the source can't be read or imported, the tokenizer doesn't fit, the outputs differ from the
            original's, or the directory contains another model. In all cases nothing is written.
        TransientError: a file can't be written.
    """
    # Over 40 lines: the steps of an import in their order, below the description of its arguments.
    refuse_job(directory)
    refuse_training(directory)
    check_is_writable(directory)
    if options.tokenizer is None:
        _refuse_tokenizer_there(directory)
    _refuse_ids(options)
    found = read_source(
        source,
        options.gates,
        options.forget_bias,
        reset=options.reset,
        elmo_options=options.elmo_options,
        vocabulary=options.vocabulary,
    )
    try:
        _refuse_unused(found, options)
        if options.initial_states:
            bring_states(found)
        stack = choose(found, options.asked)
        made = assemble(found, stack, options.ids_from, options.max_length, options.padding)
    except ModelError as error:
        raise ImportRefusedError(f"{source} ({found.format}): {error}") from error
    check_finite({_in_source(name, stack, made): array for name, array in made.weights.items()}, source)
    made.notes += _notes_of_states(found, stack)
    _refuse_other_model(directory, made.config)
    tokenizer = _tokenizer(found, made, options.tokenizer)
    if options.parity is None:
        if stack.doubts:
            raise ImportRefusedError(
                f"{source} ({found.format}): {'; '.join(stack.doubts)}. Only a comparison with the file's own "
                "computation can prove it: leave out --no-parity"
            )
        parity = None
    else:
        notice("comparing the model with the original, which may take a minute (--no-parity leaves this out)")
        try:
            parity = _compared(found, stack, made, tokenizer, directory.parent, options)
        except ModelError as error:
            raise ImportRefusedError(f"{source} ({found.format}): {error}") from error
    is_shown = not found.weights_alone or (parity is not None and parity.whole)
    made.notes += [] if is_shown else found.unproven
    model = save_model(directory, made.config, made.weights, tokenizer)
    return Imported(model, found.format, made, parity, "" if is_shown else _ARRAYS_ALONE)


def _refuse_other_model(directory: Path, config: ModelConfig) -> None:
    """Refuse a directory with another model, before the comparison takes a minute; weights are compared at the end."""
    try:
        there = config_there(directory)
    except ModelError as error:
        found = str(error).removeprefix(f"{directory}: ").removeprefix("model: ")
        why = found.rpartition("; ")[0] or found  # without what to do with a model's
        raise ImportRefusedError(
            f"{directory}: contains a {CONFIG_FILE} that isn't read as a model's ({why}); choose another directory"
        ) from error
    if there is not None and there != config:
        raise ImportRefusedError(f"{directory}: contains another model ({CONFIG_FILE}); choose another directory")


def _refuse_tokenizer_there(directory: Path) -> None:
    """Refuse a directory that has a tokenizer, but no model: it would become the model's, with ids that aren't checked.

    A model that is there already may have got its tokenizer later; it is compared with the import at the end.
    """
    if (directory / TOKENIZER_FILE).exists() and not (directory / CONFIG_FILE).exists():
        raise ImportRefusedError(
            f"{directory} contains a {TOKENIZER_FILE}, and texts would be read with it; if it is the model's, give it "
            f"with --tokenizer {directory / TOKENIZER_FILE} and name another directory for the model; otherwise, "
            "remove it"
        )


def _refuse_ids(options: ImportOptions) -> None:
    """Refuse options about ids for a model whose rows contain vectors."""
    given = {
        "--ids-from": options.ids_from is not None,
        "--tokenizer": options.tokenizer is not None,
        "--vocabulary": options.vocabulary is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if options.vectors and named:
        raise ImportRefusedError(f"--vectors and {named[0]}: rows of vectors contain no ids; leave one of them out")


def _refuse_unused(found: Found, options: ImportOptions) -> None:
    """Refuse what the user says of the cells where it would change nothing; a file without layers is refused later."""
    for option, given, why in (
        ("--recurrent-activation", options.gates, "the activation of these gates is known without it"),
        (resets.OPTION, options.reset, "the file shows where its GRUs reset their states, or it has none"),
        ("--forget-bias", options.forget_bias, "it has no LSTM to whose forget gate a TensorFlow 1 program adds it"),
    ):
        if given is not None and found.layers and option not in found.leaves_open:
            raise ImportRefusedError(
                f"{option} {given if isinstance(given, str) else f'{given:g}'}: {why}; leave it out"
            )


def _tokenizer(found: Found, made: Assembled, path: Path | None) -> str | None:
    """The text of the tokenizer.json: the user's with the model's ids, or the file's own; None if there is none."""
    if path is None:
        return own_tokenizer(found)
    # A file with an alphabet or words gives the model's own ids, and so does a tokenizer in its place.
    first_id = 1 if found.alphabet or found.words else made.ids_from
    text, notes = read_tokenizer(path, made.config.vocab_size, first_id)
    made.notes += notes
    if not first_id:
        made.notes.append("the tokenizer's ids are one higher here too, so texts stay as they are")
    return text


def _compared(
    found: Found, stack: Stack, made: Assembled, tokenizer: str | None, parent: Path, options: ImportOptions
) -> Parity:
    """Compare the model with the original, in a temporary directory below `parent` or what exists of its path."""
    parent = next((path for path in (parent, *parent.parents) if path.is_dir()), parent)
    try:
        _sweep(parent)
        scratch = tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise ImportRefusedError(f"{parent}: can't be written ({error.strerror or error})") from error
    with scratch as path, _in_use(Path(path)):
        try:
            saved = save_model(path, made.config, made.weights, tokenizer)
        except ModelError as error:  # without the name of a directory that is removed
            raise ImportRefusedError(str(error).removeprefix(f"{path}: ")) from error
        bound = options.parity or 0.0
        parity = compare(saved, found, stack, made.ids_from, made.padding, unpadded=options.unpadded, bound=bound)
        check(parity, bound, stack.doubts)
    return parity


@contextmanager
def _in_use(scratch: Path) -> Iterator[None]:
    """Hold a lock that shows other imports that this one is alive, where the file system has locks."""
    try:
        lock = lock_file(scratch / _LOCK)
    except OSError:
        yield
        return
    with lock:
        yield


def _sweep(parent: Path) -> None:
    """Remove what imports that were killed have left in a directory."""
    for left in parent.glob(f"{_SCRATCH}*"):
        with suppress(OSError):  # another import is at work on it, or it is another user's
            if (left / _LOCK).stat().st_mtime < time.time() - _OLD_SECONDS:
                with lock_file(left / _LOCK):
                    shutil.rmtree(left)


def _in_source(name: str, stack: Stack, made: Assembled) -> str:
    """A tensor's name by the layer or the embedding that it was made of, so that it is found in the source."""
    if name == "embedding" and stack.table is not None:
        return stack.table.name
    _, number, part = name.split(".", 2)
    return f"{made.names[int(number)]} ({part})"


def _notes_of_states(found: Found, stack: Stack) -> list[str]:
    """Notes about arrays that the user had left out and that have the shape of the layers' first states."""
    zero = (
        "and rows begin with states of zero. If the source begins them with this array (a learned initial state), its "
        "states differ from those here: then save the model with its graph (ONNX), and import that, or let each row "
        "bring the state (--initial-states)"
    )
    brought = "and rows bring their initial states. If the source begins them with this array, give it in each row"
    return [
        f"{one.name} {one.shape} is left out, {brought if all(layer.given_state for layer in stack.layers) else zero}"
        for one in (*found.rest, *(table.array for table in found.tables.values()))
        if f"{one.name} (--leave)" in found.left and has_shape_of_states(one, stack)
    ]
