"""`unrolled model join`: make one model of a pair that reads forward and backward."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from unrolled.job.directories import refuse_job, refuse_training
from unrolled.model.directory import open_model
from unrolled.telemetry.json_text import json_text

_DIRECTORY = click.Path(file_okay=False, readable=False, path_type=Path)


@click.command("join")
@click.argument("forward", type=_DIRECTORY)
@click.argument("backward", type=_DIRECTORY)
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def join_command(forward: Path, backward: Path, directory: Path, *, as_json: bool) -> None:
    """Join FORWARD and BACKWARD, a pair of models that read forward and backward, to one model in DIRECTORY.

    Its vectors are those of the two models side by side, those of FORWARD first, so one job makes one column of both.
    The two need recurrent layers alone, of the same kind and size; and the same tokenizer.json, or each one of
    characters, or none.

    \b
    Example:
      unrolled model join news-forward/ news-backward/ news/
    """
    from worker.model_import.pairs import join_models  # noqa: PLC0415 - other commands start without it

    refuse_job(directory)
    refuse_training(directory)
    pair = join_models(open_model(forward), open_model(backward), directory)
    config = pair.model.config
    if as_json:
        facts = {"path": str(pair.model.path), "fingerprint": pair.model.fingerprint, "config": asdict(config)}
        click.echo(json_text({**facts, "largest_difference": pair.largest}))
        return
    click.echo(f"made  {config.describe_layers()}, {config.vocab_size:,} ids")
    click.echo(f"same  the two models and the new one, in float64: largest difference {pair.largest:.1e}")
    click.echo(f"{pair.model.path}: {config.parameters:,} parameters, fingerprint {pair.model.fingerprint}")
