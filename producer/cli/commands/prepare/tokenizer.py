"""`unrolled tokenizer`: make the file that turns text into a model's token ids."""

# Over 150 lines: two commands that share their options, their target and their report; `fit_command` has over 40, most
# of them its options and its help.

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from producer.cli.input_options import named_fields, source_options
from producer.cli.options import json_option
from producer.cli.values import NonEmptyText
from producer.sources.notices import notices_of_words
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import SourceRow
from producer.terminal.text import percent
from unrolled.errors import JobError, ModelError, OptionError, RequestError
from unrolled.job.directories import refuse_job
from unrolled.job.offer import SHORT
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE, fingerprint_of
from unrolled.patience import Patience
from unrolled.store.disk.path_limits import refuse_impossible
from unrolled.store.publish import publish_bytes
from unrolled.telemetry.json_text import json_text
from unrolled.training.plan import RECORD_FILE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from unrolled.settings.flags import Decorator

FILE_NAME = "tokenizer.json"
#: A larger file isn't read to see whether it is a tokenizer, and so isn't replaced.
_MOST_BYTES = 1 << 28
_SOURCE = ("format", "text_field", "header", "quotes", "columns", "max_row_bytes")


@click.group("tokenizer")
def tokenizer() -> None:
    """Make the tokenizer.json of a model.

    The file turns text into the token ids of the model.
    """


_out: "Decorator" = click.option(
    "--out",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write, or a model directory to put the tokenizer.json into.",
)
_overwrite: "Decorator" = click.option("--overwrite", is_flag=True, help="Replace a tokenizer that exists.")


@tokenizer.command("fit")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@_out
@click.option(
    "--vocab-size",
    type=click.IntRange(1),
    show_default="the one of the model in --out",
    help="Largest token id; the words get the ids from 1 up to it.",
)
@click.option(
    "--oov",
    type=NonEmptyText(),
    metavar="TOKEN",
    default="drop",
    show_default=True,
    help="What replaces a word outside the vocabulary: nothing (drop), or this token, which gets id 1.",
)
@source_options(*_SOURCE)
@_overwrite
@json_option
def fit_command(
    *,
    inputs: tuple[str, ...],
    out: Path,
    vocab_size: int | None,
    oov: str,
    overwrite: bool,
    as_json: bool,
    **source: Any,
) -> None:
    """Count the words of INPUTS (files, directories, patterns, -) and keep the most frequent.

    Words are those of Keras's Tokenizer: in lower case, without its punctuation, split at spaces, ranked by frequency.
    Id 0 is padding.

    \b
    Examples:
      unrolled tokenizer fit corpus/ --vocab-size 10000 --out tokenizer.json
      unrolled tokenizer fit 'logs/*.jsonl.gz' --out model/ --oov '<OOV>'
    """
    # Over 40 lines: one step after the other, each with its own error.
    from producer.terminal.progress import reading  # noqa: PLC0415 - other commands start without it
    from producer.tokenization.word_level import fit  # noqa: PLC0415 - other commands start without it

    target, room = _target(out, overwrite)
    size = vocab_size or room
    if size is None:
        raise OptionError("--vocab-size is missing; give it, or let --out be a model directory")
    if room is not None and size > room:
        raise OptionError(f"--vocab-size is {size}; allowed by the model in --out {out}: up to {room}")
    tokens_field = "tokens" if source["text_field"] != "tokens" else "text"
    options = SourceOptions(kind="text", tokens_field=tokens_field, reads_ids=False, **source)
    plan = check_inputs(inputs, options, named_fields())
    for notice in (*plan.notices, *notices_of_words((file.label, file.format) for file in plan.files)):
        click.echo(notice, err=True)
    bad_rows, patience = 0, Patience(partial(click.echo, err=True))

    def texts(on_bytes: Callable[[int], None]) -> Iterator[str]:
        nonlocal bad_rows
        for batch in read_batches(plan, options, on_bytes=on_bytes, steadily=patience.until_done):
            good = [row.text for row in batch if isinstance(row, SourceRow) and row.text is not None]
            bad_rows += len(batch) - len(good)
            yield from good

    with reading("counting words", plan.size_bytes) as on_bytes:
        found = fit(texts(on_bytes), size, None if oov == "drop" else oov)
    if line := found.line_of_unknown(oov):
        click.echo(line, err=True)
    _save(found.tokenizer, target, room)
    summary: dict[str, object] = {
        "path": str(target),
        "texts": found.texts,
        "bad_rows": bad_rows,
        "words": found.words,
        "distinct_words": found.distinct,
        "vocabulary": found.kept,
        "covered": round(found.covered / found.words, 6),
    }
    _report(summary, as_json)


@tokenizer.command("import")
@click.argument("keras_json", type=click.File(encoding="utf-8-sig"))
@_out
@_overwrite
@json_option
def import_command(keras_json: Any, out: Path, overwrite: bool, as_json: bool) -> None:
    """Convert a tokenizer of Keras; ids stay the same.

    KERAS_JSON is what the to_json() of a Keras Tokenizer wrote; or the settings and the vocabulary of a
    TextVectorization layer, as json.dump({**layer.get_config(), "vocabulary": layer.get_vocabulary()}, file) writes
    them.

    \b
    Example:
      unrolled tokenizer import keras-tokenizer.json --out model/
    """
    from producer.tokenization.keras_json import from_keras  # noqa: PLC0415 - other commands start without it

    target, room = _target(out, overwrite)
    try:
        made, note = from_keras(keras_json.read())
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{keras_json.name}: is no text in UTF-8, and so no JSON; give a file with what the to_json() of a Keras "
            "Tokenizer writes, or with a TextVectorization layer as docs/token_ids.md has it"
        ) from error
    except RequestError as error:
        raise RequestError(f"{keras_json.name}: {error}") from error
    _save(made, target, room)
    if note:
        click.echo(note, err=True)
    ids = made.get_vocab().values()
    _report({"path": str(target), "vocabulary": len(ids) - (0 in ids), "largest_id": max(ids)}, as_json)


def _target(out: Path, overwrite: bool) -> tuple[Path, int | None]:
    """The file to write, and the vocab_size of the model in whose directory it is; None without a model.

    Raises:
        RequestError: it is a URL.
        JobError: the file exists, and isn't to be replaced or is no tokenizer; or its directory doesn't exist.
        ModelError: the directory contains no model that can be used.
        OptionError: the model in it reads vectors, or nothing can be at this path.
    """
    from unrolled.model.directory import check_is_local, open_model  # noqa: PLC0415 - other commands start without it

    check_is_local(out)
    refuse_impossible(out)
    if out.name == FILE_NAME and (out.parent / WEIGHTS_FILE).is_file() and not _is_of_others(out.parent):
        out = out.parent  # the model's own
    room, target = None, out
    refuse_job(out)
    if out.is_dir():
        config, target = open_model(out).config, out / FILE_NAME
        if config.vector_dim is not None:
            raise OptionError(
                f"{out} reads vectors of {config.vector_dim}, so it needs no tokenizer; give another --out"
            )
        room = config.vocab_size
    if target.exists() and not overwrite:
        raise JobError(f"{target} exists; give another --out, or --overwrite")
    if target.exists() and not target.is_file():
        raise JobError(f"{target} is no file, which is all that --overwrite replaces; give another --out")
    if target.exists() and room is None and not _is_tokenizer(target):
        raise JobError(f"{target} is no tokenizer file, which is all that --overwrite replaces; give another --out")
    if not target.parent.is_dir():
        found = "is no directory; give another --out" if target.parent.exists() else "doesn't exist; make it first"
        raise JobError(f"{target.parent} {found}")
    return target, room


def _is_of_others(directory: Path) -> bool:
    """Whether a directory has no model of this product: no configuration, or one that another program has written."""
    if (directory / RECORD_FILE).exists():
        return False
    try:
        found = json.loads((directory / CONFIG_FILE).read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False  # which is said when it is opened
    return isinstance(found, dict) and "format_version" not in found


def _is_tokenizer(path: Path) -> bool:
    """Whether a file is a tokenizer, rather than a corpus or a model's weights."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - other commands start without it

    with suppress(Exception):  # tokenizers raises plain Exception
        if path.stat().st_size <= _MOST_BYTES:
            Tokenizer.from_file(str(path))
            return True
    return False


def _save(made: "Tokenizer", target: Path, room: int | None) -> None:
    from unrolled.model.directory import open_model  # noqa: PLC0415 - other commands start without it
    from unrolled.tokenization.tokenizer import check_vocabulary  # noqa: PLC0415 - other commands start without it

    if room is not None:
        check_vocabulary(made, room, "the new tokenizer")
    content = (made.to_str(pretty=True) + "\n").encode()
    trained = None if room is None else _fingerprint_trained(target.parent)
    possible = () if trained is None else _with_and_without(target.parent, content)
    if room is not None and trained not in possible[:1] and _is_same(made, target):
        return  # in other bytes, which would only make another model
    if trained is not None and trained not in possible:
        raise ModelError(
            f"{target.parent} was trained by `unrolled model fit` ({RECORD_FILE} is there), and only the tokenizer of "
            "its training gives its vectors a meaning; this one isn't known to be that. Restore "
            f"{FILE_NAME} from your copy, or make it as the training did: of the same texts with the same options, or "
            "from the file of --tokenizer. For another model, give another --out"
        )
    before = None if room is None else open_model(target.parent).fingerprint
    publish_bytes(target, content)
    if before is None or (now := open_model(target.parent).fingerprint) == before:
        return
    if now != trained:
        click.echo(
            "texts have this tokenizer's ids now: a model that was trained with other ids gives meaningless vectors",
            err=True,
        )
    click.echo(
        f"the model's fingerprint is {now[:SHORT]}… now, and was {before[:SHORT]}…: jobs of the old one can go on "
        "only with a directory that has the old files",
        err=True,
    )


def _fingerprint_trained(model: Path) -> str | None:
    """The fingerprint that a model had when `unrolled model fit` had trained it; None if that didn't make it."""
    try:
        return str(json.loads((model / RECORD_FILE).read_bytes())["fingerprint"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""  # a record that can't be read is one all the same


def _is_same(made: "Tokenizer", target: Path) -> bool:
    """Whether a file is a tokenizer that gives the same ids, however it is written."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - other commands start without it

    with suppress(Exception):  # tokenizers raises plain Exception
        return bool(Tokenizer.from_file(str(target)).to_str() == made.to_str())
    return False


def _with_and_without(model: Path, tokenizer: bytes) -> tuple[str, str]:
    """The fingerprints of a model with a tokenizer, and without any: one may be trained with ids alone."""
    with TemporaryDirectory() as scratch:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            (Path(scratch) / name).symlink_to((model / name).absolute())
        without = fingerprint_of(Path(scratch))
        (Path(scratch) / FILE_NAME).write_bytes(tokenizer)
        return fingerprint_of(Path(scratch)), without


def _report(summary: dict[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json_text(summary))
        return
    for name, value in summary.items():
        shown = percent(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
        click.echo(f"{name.replace('_', ' '):<16}{shown}")
