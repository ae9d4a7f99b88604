"""Options and arguments that several subcommands share."""

# Over 150 lines: options that several commands share, and what is said of their values.

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from producer.local.broker_record import find_broker
from producer.terminal.lines import tell
from unrolled.errors import JobError, OptionError, RequestError
from unrolled.job import names
from unrolled.protocol.opening import open_job
from unrolled.queue.broker_url import check_broker_url
from unrolled.queue.messages import check_namespace
from unrolled.settings.flags import check_companion, flags
from unrolled.settings.worker_options import WorkerOptions
from unrolled.store.bucket_url import BucketUrl, is_url
from unrolled.store.disk.path_limits import refuse_impossible
from unrolled.store.place import open_store
from unrolled.telemetry.json_log import log_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.protocol.opening import OpenJob
    from unrolled.settings.flags import Decorator
    from unrolled.telemetry.server import Collect


def _checked(check: Callable[[str], str]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def callback(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        try:
            return value if value is None else check(value)
        except RequestError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _broker_option(default: str) -> Decorator:
    return click.option(
        "--broker",
        metavar="URL",
        callback=_checked(check_broker_url),
        show_default=default,
        help="Redis URL: redis://, rediss:// (TLS) or redis+socket://. Set a URL with a password in the environment, "
        "not on the command line.",
    )


broker_option = _broker_option("the broker of the `unrolled run` that is working on OUT")
#: Of `unrolled run`, which starts a broker, and of commands about a whole broker, which refuse to begin without one.
own_broker_option = _broker_option("one that the command starts")
needed_broker_option = _broker_option("none: name one")
namespace_option: Decorator = click.option(
    "--namespace",
    metavar="NAME",
    default="unrolled",
    show_default=True,
    callback=_checked(check_namespace),
    help="Prefix of every key in Redis; producer and workers need the same one.",
)
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
out_argument: Decorator = click.argument("out")
metrics_options: Decorator = flags(WorkerOptions, ("metrics_port", "metrics_address"))
log_format_option: Decorator = flags(WorkerOptions, ("log_format",))
tracing_option: Decorator = flags(WorkerOptions, ("tracing",))


@contextmanager
def served(collect: Collect, port: int | None, address: str) -> Iterator[None]:
    """Serve figures to Prometheus while the block runs, if a port is given.

    Raises:
        OptionError: `prometheus_client` is missing, the port can't be used, or only the address is given.
    """
    check_companion("metrics_address", "--metrics-port", given=port is not None)
    if port is None:
        yield
        return
    from unrolled.telemetry.server import MetricsServer  # noqa: PLC0415 - few commands serve figures

    with closing(MetricsServer(collect, port, address)) as server:
        tell(f"figures for Prometheus: {server.url}")
        yield


def check_exists(out: str, gone: str = "") -> None:
    """Refuse a misspelt directory; a store waits for one that is away.

    Args:
        out: the directory or URL that a person has named.
        gone: what to do if it was deleted.

    Raises:
        OptionError: it is empty, as a variable that isn't set is, or no path that a directory can have.
        JobError: there is no such path.
    """
    if not out:
        raise OptionError("the directory's name is empty; name the output directory of a job")
    if is_url(out):
        return
    refuse_impossible(out)
    with suppress(PermissionError):  # the store says what the system doesn't let it do
        if not Path(out).exists():
            raise JobError(f"{out}: does not exist; name the output directory of a job{gone}")


def _refuse_file(out: str) -> None:
    """Refuse a file, such as a part of a job in place of the job.

    Raises:
        JobError: it is one.
    """
    path = Path(out)
    try:
        if is_url(out) or not path.is_file():
            return
    except PermissionError:
        return
    is_part = any(names.parts_in([path.name])) and (path.parent / names.FOLDER).is_dir()
    what = f"the job's directory, {path.parent}" if is_part else "the output directory of a job"
    raise JobError(f"{out}: is a file; name {what}")


def job_at(out: str, gone: str = "") -> OpenJob:
    """The job in the directory or at the URL that a person has named.

    Args:
        out: that.
        gone: what to do if the directory was deleted.

    Raises:
        JobError: there is none.
        TransientError: it can't be read now.
    """
    check_exists(out, gone)
    _refuse_file(out)
    try:
        return open_job(out)
    except JobError as error:
        store = open_store(out)
        if store.read(names.JOB, 0, 1) is not None or not any(names.parts_in(store.list())):
            raise
        has_records = any(True for _ in store.list(names.LOG))
        way = "Restore that file from a copy" if has_records else f"Copy the directory {names.FOLDER} too"
        raise JobError(
            f"{out}: contains parts, but not the records of their job ({names.JOB} is missing). {way}; `unrolled "
            "neighbours`, and unrolled.open in Python, need only the parts"
        ) from error


#: Of a job whose directory was deleted.
CANCEL_BY_KEY = "; if it was deleted: unrolled cancel --key KEY, which `unrolled jobs` shows"


def need_broker(given: str | None, out: str | None) -> str:
    """The broker that a command can't do without: the given one, or that of the `unrolled run` working on a job.

    Args:
        given: the URL that was named; None where none was.
        out: the job's output directory or URL; None where the command is about no job, or about one without a place.

    Raises:
        OptionError: there is none, and the text says how to name one; or the URL of the job can't be used.
        JobError: the record of the run is damaged.
    """
    if out and is_url(out):
        BucketUrl.parse(out)  # what isn't one may have a password, which no text here may repeat
    found = find_broker(given, out) if out else given
    if found is None:
        more = f" (no `unrolled run` is working on {out})" if out else ""
        raise OptionError(
            f"no broker: name it with --broker redis://HOST:6379/0 or in the variable UNROLLED_BROKER{more}"
        )
    return found


def start_log(log_format: str) -> None:
    """Begin to write messages as `--log-format` says."""
    if log_format == "json":
        log_json()
