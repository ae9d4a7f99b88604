"""`unrolled report`."""

# Over 150 lines: the options of one command.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.options import job_at, out_argument
from producer.report.options import FEW_POINTS, METHODS, MOST_POINTS, ReportOptions
from unrolled.errors import OptionError, as_argument
from unrolled.process.allocator import return_large_blocks
from unrolled.settings.flags import check_companion

if TYPE_CHECKING:
    from producer.report.options import Method
    from unrolled.protocol.opening import OpenJob

#: Damaged files that are named on the terminal; the page names more.
_NAMED = 3


@click.command()
@out_argument
@click.option(
    "--to",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="OUT/_unrolled/report.html",
    help="HTML file to write.",
)
@click.option(
    "--map",
    "method",
    type=click.Choice(METHODS),
    default="pca",
    show_default=True,
    help="Method of the map: principal components, UMAP or t-SNE where their library is installed, or no map. UMAP and "
    "t-SNE of many points take minutes.",
)
@click.option("--tokens", "of_tokens", is_flag=True, help="Map tokens, not rows.")
@click.option(
    "--points",
    type=click.IntRange(1, MOST_POINTS),
    show_default=f"{MOST_POINTS:,}; {FEW_POINTS:,} with --live, and in the report of `unrolled run`",
    help="Largest number of points on the map; of more rows or tokens, a sample is shown.",
)
@click.option("--column", metavar="NAME", help="Column of vectors.  [default: the first that fits]")
@click.option(
    "--model",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Model directory of the job: the report then shows its layers, and stored token ids as words.",
)
@click.option(
    "--table",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Parquet, CSV, TSV or JSON Lines file with texts and labels of rows.",
)
@click.option("--id-field", metavar="NAME", default="id", show_default=True, help="Column of the table with the ids.")
@click.option(
    "--text-field", metavar="NAME", show_default="text, if there is one", help="Column of the table with the texts."
)
@click.option("--label-field", metavar="NAME", help="Column of the table by which points are coloured.")
@click.option(
    "--plan",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Output of `unrolled plan --json` for this job: the report then compares plan and result.",
)
@click.option(
    "--coordinates",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the points of the map as Parquet.",
)
@click.option("--png", is_flag=True, help="Also write the map and the throughput as PNG, beside the page.")
@click.option("--live", is_flag=True, help="Serve the report of a running job to a browser instead of writing it.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8710,
    show_default=True,
    help="With --live: port of the server; 0 takes any free one.",
)
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True,
    help="With --live: address to listen at. There is no login: anyone who can reach it can read the report.",
)  # fmt: skip
@click.pass_context
def report(
    context: click.Context,
    *,
    out: str,
    to: Path | None,
    method: Method,
    of_tokens: bool,
    points: int | None,
    column: str | None,
    model: Path | None,
    table: Path | None,
    id_field: str,
    text_field: str | None,
    label_field: str | None,
    plan: Path | None,
    coordinates: Path | None,
    png: bool,
    live: bool,
    port: int,
    host: str,
) -> None:
    """Write a page about a job: its numbers, its time, and a map of its states.

    The page is one HTML file that loads nothing from the network, so it can be kept and passed on. It contains ids of
    rows, and texts if the job stored token ids or a table is named. With --live, the page is served on this machine,
    and follows the job.

    \b
    Examples:
      unrolled report out
      unrolled report out --model my-model --tokens --to tokens.html
      unrolled report out --table rows.csv --label-field topic --map umap
      unrolled report out --live
    """
    # Over 40 lines: one command, most of it the texts of its options.
    options = ReportOptions(
        method=method,
        points=points or (FEW_POINTS if live else MOST_POINTS),
        of_tokens=of_tokens,
        column=column,
        model=model,
        table=table,
        id_field=id_field,
        text_field=text_field,
        label_field=label_field,
        plan=plan,
    )
    check_companion("id_field", "--table", given=table is not None)
    for name in ("host", "port"):
        check_companion(name, "--live", given=live)
    job = job_at(out)
    if live:
        if to or coordinates or png:
            raise OptionError("--live writes no file; leave out --to, --coordinates and --png")
        _serve(job, options, host, port)
        return
    from producer.report.page.markup import size  # noqa: PLC0415 - --help needs no numpy
    from producer.report.writing import write_report  # noqa: PLC0415 - --help needs no numpy

    return_large_blocks()
    written = write_report(job, options, to, coordinates=coordinates, png=png)
    state = written.facts.state
    if state != "complete":
        click.echo(f"{out}: the job is {state}; the report shows what is published now", err=True)
    damaged = written.facts.damaged
    for each in damaged[:_NAMED]:
        click.echo(f"not in the report: {each}", err=True)
    if len(damaged) > _NAMED:
        click.echo(
            f"not in the report: other damaged files; `unrolled verify {as_argument(out)}` names them all", err=True
        )
    for warning in written.warnings:
        click.echo(f"warning: {warning}", err=True)
    for path in (written.page, *written.others):
        click.echo(f"{path} ({size(path.stat().st_size)})")
    context.exit(ExitStatus.FAILED if damaged else ExitStatus.DONE)


def _serve(job: OpenJob, options: ReportOptions, host: str, port: int) -> None:
    from producer.report.gathering import Gathering  # noqa: PLC0415 - --help needs no numpy
    from producer.report.live import LivePage, LiveServer  # noqa: PLC0415 - --help needs no numpy

    with LiveServer(LivePage(lambda: Gathering(job, options)), host, port) as server:
        address = f"[{host}]" if ":" in host else host
        click.echo(f"http://{address}:{server.server_address[1]}/ shows {job.place}; Ctrl-C ends it", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
