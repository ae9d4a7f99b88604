"""`unrolled metrics`."""

from __future__ import annotations

import threading
from contextlib import closing

import click

from producer.cli.options import (
    log_format_option,
    metrics_options,
    namespace_option,
    need_broker,
    needed_broker_option,
    served,
    start_log,
)
from producer.queue.ledger_figures import LedgerFigures
from producer.terminal.lines import warn
from producer.terminal.signals import terminable
from unrolled.errors import OptionError
from unrolled.patience import Patience
from unrolled.queue.broker import Broker

#: A person waits for the answer, or Prometheus, for ten seconds at most.
SOCKET_SECONDS = 5.0


@click.command()
@needed_broker_option
@namespace_option
@metrics_options
@click.option("--once", is_flag=True, help="Print the figures and end.")
@log_format_option
def metrics(
    *,
    broker: str | None,
    namespace: str,
    metrics_port: int | None,
    metrics_address: str,
    once: bool,
    log_format: str,
) -> None:
    """Serve the queue's figures to Prometheus.

    For each ledger in the broker: its shards and tokens, how many workers serve it, and how long its oldest shard has
    waited. Run this command once for each broker and namespace: the figures describe the broker, so two of them would
    count everything twice. It ends at SIGTERM or Ctrl-C, and at once if the broker refuses the login. While the broker
    is away, or refuses later, `unrolled_broker_up` is 0, and a line says why. With --once, the figures are those that
    the textfile collector of node_exporter can take: none is about this process.

    \b
    Examples:
      unrolled metrics --broker redis://localhost:6379/0 --metrics-port 9151
      unrolled metrics --once > queue.new && mv queue.new queue.prom
    """
    start_log(log_format)
    if once == (metrics_port is not None):
        raise OptionError("give either --metrics-port, to serve the figures, or --once, to print them")
    with closing(Broker(need_broker(broker, None), SOCKET_SECONDS)) as server:
        figures = LedgerFigures(server, namespace, None if once else Patience(warn))
        figures.check_login()
        if once:
            from unrolled.telemetry.server import text  # noqa: PLC0415 - needs the extra

            click.echo(text(figures.collect), nl=False)
            if figures.trouble:
                warn(f"can't read the queue's figures: {figures.trouble}")
            return
        with terminable(), served(figures.collect, metrics_port, metrics_address):
            threading.Event().wait()
