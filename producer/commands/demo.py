"""`unrolled demo`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

_MODEL = {"--vocab-size": "10000", "--max-length": "128", "--lstm-units": "128", "--lstm-layers": "2"}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("demo-output"))
@click.option("--engine", default="auto", show_default=True, help="What computes; as in `unrolled worker`.")
def demo(directory: Path, engine: str) -> None:
    """Show the whole path on text that is already here.

    Takes the docstrings of Python's standard library, cut into sentences; fits a tokenizer, makes a model with fresh
    weights, and runs the job through broker, queue, worker and Parquet. Each step is a command that is printed first.

    \b
    Example:
      unrolled demo demo-output
    """
    from producer.cli import cli  # noqa: PLC0415 - the group loads this module

    corpus, model, out = (directory / name for name in ("docstrings.jsonl", "model", "vectors"))
    _write_corpus(corpus)
    steps = [
        ["run", str(corpus), "--model", str(model), "--out", str(out), "--engine", engine],
        ["show", str(out)],
        ["verify", str(out)],
    ]
    if not (model / "tokenizer.json").exists():
        new = ["model", "new", str(model), *(word for pair in _MODEL.items() for word in pair)]
        fit = ["tokenizer", "fit", str(corpus), "--vocab-size", _MODEL["--vocab-size"], "--out", str(model)]
        steps = [*([] if model.exists() else [new]), fit, *steps]
    for step in steps:
        click.echo(f"\n$ unrolled {shlex.join(step)}")
        status = cli.main(step, prog_name="unrolled", standalone_mode=False)
        if status:
            raise click.exceptions.Exit(status)


def _write_corpus(path: Path) -> None:
    """The sentences as JSON lines; written once, so that the same command again resumes the same job."""
    if path.exists():
        return
    from producer.docstrings import sentences  # noqa: PLC0415 - only the demo needs it
    from unrolled.publishing import publish_bytes  # noqa: PLC0415 - likewise

    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": name, "text": text}) for name, text in sentences()]
    publish_bytes(path, ("\n".join(lines) + "\n").encode())
    click.echo(f"{len(lines):,} sentences of the standard library's docstrings are in {path}")
