"""`unrolled demo`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unrolled.errors import OptionError, as_argument
from unrolled.job.directories import refuse_place
from unrolled.job.offer import ENGINES
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.store.disk.path_limits import refuse_impossible

if TYPE_CHECKING:
    from producer.demo.neighbours import Place

#: Half a minute of training on two cores (`benchmarks/fitting.py`); nearly every sentence fits into a window.
_MODEL = {
    "--vocab-size": "4000", "--max-length": "64", "--lstm-units": "128", "--lstm-layers": "2", "--embedding-dim": "128",
    "--batch-tokens": "1024", "--learning-rate": "0.01", "--keep-probability": "0.7",
}  # fmt: skip
_WORDS = ("returns", "integer", "seconds", "file", "false", "raised")
_NEIGHBOURS = 4


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("demo-output"))
@click.option("--engine", type=click.Choice(ENGINES), help="Engine that computes, as in `unrolled run`.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Largest number of passes over the text in training.",
)
def demo(directory: Path, engine: str | None, epochs: int) -> None:
    """Show the whole path on text that is already here.

    The text is the docstrings of Python's standard library, cut into sentences. A model is trained on it, a job
    computes the state of every word, a report shows the job and a map of the sentences, and the files show which words
    have similar states. Each step is a command, which is printed first. Everything is in DIRECTORY, by default
    demo-output. Run the command again and it resumes.

    \b
    Example:
      unrolled demo demo-output
    """
    # Over 40 lines: one command, half of it its options, its help text and the steps' options.
    from producer.cli.root import cli  # noqa: PLC0415 - the group loads this module

    if str(directory).startswith("-"):  # as of ./-x; each step takes it as an argument
        directory = directory.absolute()
    refuse_impossible(str(directory / "vectors"))
    place = directory.resolve()
    if file := next((each for each in (place, *place.parents) if each.is_file()), None):
        raise OptionError(f"{directory}: {file} is a file; name a directory, or a path at which one can be made")
    refuse_place(str(directory / "vectors"))
    if all((directory / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE)):
        raise OptionError(
            f"{directory}: contains a model ({CONFIG_FILE}); name another directory for the demonstration"
        )
    corpus, model, out = (directory / name for name in ("docstrings.jsonl", "model", "vectors"))
    _write_corpus(corpus)
    sizes = [word for pair in _MODEL.items() for word in pair]
    chosen = ["--engine", engine] if engine else []
    steps = [
        ["model", "fit", str(corpus), "--out", str(model), *sizes, "--epochs", str(epochs)],
        ["run", str(corpus), "--model", str(model), "--out", str(out), "--with-tokens", "--no-report", *chosen],
        ["show", str(out)],
        ["report", str(out), "--model", str(model), "--points", "10000", "--to", str(directory / "report.html")],
    ]  # `run` writes no report: that of the next step has more points, and words
    for step in steps:
        click.secho(f"\n$ unrolled {shlex.join(step)}", bold=True)
        status = cli.main(step, prog_name="unrolled", standalone_mode=False)
        if status:
            raise click.exceptions.Exit(status)
    _show_neighbours(model, out)
    of_yours = f"unrolled run TEXT --model {as_argument(model)} --out vectors"
    click.echo(f"\nThe model is in {model}, and the vectors are in {out}. For those of your own text: {of_yours}")
    click.echo(f"→ open {directory / 'report.html'} in a browser")


def _write_corpus(path: Path) -> None:
    """Write the sentences as JSON lines; only once, so that another run resumes the same job."""
    if path.exists():
        click.echo(f"the text is {path}, which was there before")
        return
    from producer.demo.docstrings import sentences  # noqa: PLC0415 - only the demo needs it
    from unrolled.store.publish import publish_bytes  # noqa: PLC0415 - only the demo needs it

    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": name, "text": text}) for name, text in sentences()]
    publish_bytes(path, ("\n".join(lines) + "\n").encode())
    click.echo(f"{len(lines):,} sentences of the standard library's docstrings are in {path}")


def _show_neighbours(model: Path, out: Path) -> None:
    from producer.demo.neighbours import nearest  # noqa: PLC0415 - --help needs no numpy
    from producer.training.display import perplexity_text  # noqa: PLC0415 - --help needs no numpy
    from producer.training.process import read_record  # noqa: PLC0415 - --help needs no numpy
    from unrolled.model.directory import open_model  # noqa: PLC0415 - --help needs no numpy
    from unrolled.reading.dataset import open_dataset  # noqa: PLC0415 - --help needs no numpy
    from unrolled.tokenization.tokenizer import load_tokenizer  # noqa: PLC0415 - --help needs no numpy

    dataset, record = open_dataset(out), read_record(model)
    directory = open_model(model)
    if directory.tokenizer_path is None:
        return
    tokenizer = load_tokenizer(directory.tokenizer_path, directory.config.vocab_size)
    click.secho(f"\nWhich of the {dataset.tokens:,} states in {out} are similar?", bold=True)
    click.echo(
        "Each word [in brackets] is shown in its most typical place; below it are the nearest states of other words, "
        "by cosine."
    )
    for place, others in nearest(dataset, tokenizer, _WORDS, _NEIGHBOURS):
        click.echo(f"\n{_line(place, '')}")
        for other in others:
            click.echo(_line(other, f"{other.cosine:5.3f}"))
    held_out, alone = (perplexity_text(record[f"{name}_perplexity"]) for name in ("validation", "unigram"))
    click.echo(
        f"\nOn {record['validation']['rows']:,} sentences that the model never saw it has a perplexity of {held_out}; "
        f"word frequencies alone have {alone}."
    )


def _line(place: Place, cosine: str) -> str:
    return f"{cosine:>8}  {place.before:>48} {click.style(f'[{place.word}]', bold=True)} {place.after}".rstrip()
