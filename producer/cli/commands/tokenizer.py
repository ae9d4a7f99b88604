"""`unrolled tokenizer`: make the file that turns text into a model's ids."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from producer.rows import SourceRow
from producer.sources.reading import FORMATS, SourceOptions, check_inputs, read_batches
from unrolled.errors import RequestError, UnrolledError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE_NAME = "tokenizer.json"


@click.group("tokenizer")
def tokenizer() -> None:
    """Make a tokenizer.json: text in, token ids out."""


@contextmanager
def _errors_shown() -> Iterator[None]:
    try:
        yield
    except UnrolledError as error:
        raise click.ClickException(str(error)) from error


_out = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="File to write, or a model directory, which then gets it as its tokenizer.json.",
)
_overwrite = click.option("--overwrite", is_flag=True, show_envvar=True, help="Replace a file that is there.")
_as_json = click.option("--json", "as_json", is_flag=True, show_envvar=True, help="Print the summary as JSON.")


@tokenizer.command("fit")
@click.argument("inputs", nargs=-1, required=True)
@_out
@click.option(
    "--vocab-size",
    type=click.IntRange(min=1),
    show_envvar=True,
    help="Highest id; ids 1 to this are words. Default: that of the model in --out.",
)
@click.option(
    "--oov",
    default="drop",
    show_default=True,
    show_envvar=True,
    help="What a word outside the vocabulary becomes: nothing (drop), or this token, which takes id 1.",
)
@click.option("--format", "format_", type=click.Choice(FORMATS), show_envvar=True, help="Of every input.")
@click.option("--text-field", default="text", show_default=True, show_envvar=True, help="Field with the text.")
@_overwrite
@_as_json
def fit_command(
    *,
    inputs: tuple[str, ...],
    out: Path,
    vocab_size: int | None,
    oov: str,
    format_: Any,
    text_field: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Count the words of INPUTS (files, directories, patterns, -) and keep the most frequent.

    Words are those of Keras's Tokenizer: lower-cased, without its punctuation, split at spaces, ranked
    by frequency. Id 0 stays free for padding.

    \b
    Examples:
      unrolled tokenizer fit corpus/ --vocab-size 10000 --out tokenizer.json
      unrolled tokenizer fit 'logs/*.jsonl.gz' --out model/ --oov '<OOV>'
    """
    from producer.tokenization.word_level import fit  # noqa: PLC0415  (other commands start without it)

    with _errors_shown():
        target, room = _target(out, overwrite)
        size = vocab_size or room
        if room is not None and size is not None and size > room:
            raise RequestError(f"--vocab-size {size} is more than the model in {out} allows: {room}")
        if size is None:
            raise RequestError("--vocab-size is missing; name it, or let --out be a model directory")
        tokens_field = "tokens" if text_field != "tokens" else "text"
        options = SourceOptions(format=format_, kind="text", text_field=text_field, tokens_field=tokens_field)
        plan = check_inputs(inputs, options)
        for notice in plan.notices:
            click.echo(notice, err=True)
        bad: list[int] = []

        def texts() -> Iterator[str]:
            for batch in read_batches(plan, options):
                good = [row.text for row in batch if isinstance(row, SourceRow) and row.text is not None]
                bad.append(len(batch) - len(good))
                yield from good

        found = fit(texts(), size, None if oov == "drop" else oov)
        summary: dict[str, object] = {
            "path": str(target),
            "texts": found.texts,
            "bad_rows": sum(bad),
            "words": found.words,
            "distinct_words": found.distinct,
            "vocabulary": found.kept,
            "covered": round(found.covered / found.words, 6),
        }
        _save(found.tokenizer, target, room)
    _report(summary, as_json)


@tokenizer.command("import")
@click.argument("keras_json", type=click.File(encoding="utf-8"))
@_out
@_overwrite
@_as_json
def import_command(keras_json: Any, out: Path, overwrite: bool, as_json: bool) -> None:
    """Take over a Keras tokenizer, from what its to_json() wrote; ids stay the same.

    \b
    Example:
      unrolled tokenizer import keras-tokenizer.json --out model/
    """
    from producer.tokenization.keras_json import from_keras  # noqa: PLC0415  (other commands start without it)

    with _errors_shown():
        target, room = _target(out, overwrite)
        try:
            made = from_keras(keras_json.read())
        except (RequestError, UnicodeDecodeError) as error:
            raise RequestError(f"{keras_json.name}: {error}") from error
        _save(made, target, room)
    ids = made.get_vocab().values()
    _report({"path": str(target), "vocabulary": len(ids) - (0 in ids), "largest_id": max(ids)}, as_json)


def _target(out: Path, overwrite: bool) -> tuple[Path, int | None]:
    """Where to write, and the vocab_size of the model there if it is one."""
    room = None
    target = out
    if out.is_dir():
        from unrolled.model.directory import open_model  # noqa: PLC0415  (other commands start without it)

        room = open_model(out).config.vocab_size
        target = out / FILE_NAME
    if target.exists() and not overwrite:
        raise RequestError(f"{target} is there already; give another --out, or --overwrite")
    if not target.parent.is_dir():
        raise RequestError(f"{target.parent} is no directory; make it first")
    return target, room


def _save(made: "Tokenizer", target: Path, room: int | None) -> None:
    from producer.tokenization.tokenize import check_vocabulary  # noqa: PLC0415  (other commands start without it)

    if room is not None:
        check_vocabulary(made, room, "the new tokenizer")
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.write_text(made.to_str(pretty=True) + "\n", encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RequestError(f"{target} can't be written ({error.strerror or error})") from error


def _report(summary: dict[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        click.echo(f"{name.replace('_', ' '):<16}{value}")
