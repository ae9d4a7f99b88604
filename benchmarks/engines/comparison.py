"""One comparison: all contestants on one text with one model, in turns.

It is one file because it is the course of one comparison. It isn't part of the program's own file, because the process
that runs it couldn't import it from there.
"""

import argparse
import dataclasses
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from contest import Batched, Contestant, Pooled, pools_of
from figure import ARITHMETICS, OURS, Figure, best_peer, quiet_ratio, ratios
from model import exact_states, make_model, take
from peak import gauge, peaks
from peers import PEERS
from texts import VOCAB, rows_of
from turns import Turns, take_turns, timed

from unrolled.model.directory import ModelDirectory
from unrolled.tokenization.ragged import Ragged

EMBEDDING, WIDE = int(VOCAB**0.25), 256
# Few rows, and short ones: exact states take half a minute at 1,024 units.
CHECKED_ROWS, CHECKED_LENGTH = 16, 48


@dataclasses.dataclass(frozen=True)
class Group:
    """What all contestants of one comparison share."""

    text: str
    units: int
    embedding: int
    threads: int


def contestants(model: ModelDirectory, rows: Ragged, group: Group, options: argparse.Namespace) -> Iterator[Contestant]:
    """The chosen contestants that are installed."""
    for name in options.contestants:
        try:
            if name == "fused":
                yield from fused(model, rows, group, options)
            elif name == "tensorflow":
                yield tensorflow(model, rows, group, options)
            for make in PEERS.get(name, ()):
                yield Batched(make(model, group.threads), rows, options.seconds, options.batch_sizes)
        except ImportError as error:
            print(f"  absent: {name} ({error})")


def fused(model: ModelDirectory, rows: Ragged, group: Group, options: argparse.Namespace) -> Iterator[Contestant]:
    """The fused engine in each arithmetic.

    Raises:
        ImportError: its kernel isn't built, or this machine can't run it.
    """
    from worker.engines.fused import library  # noqa: PLC0415 - the kernel may not be built
    from worker.engines.fused.engine import FusedEngine  # noqa: PLC0415 - the kernel may not be built

    if reason := library.why_unavailable():
        raise ImportError(reason)
    pools = pools_of(rows, options.pool_tokens)
    for arithmetic in ARITHMETICS:
        yield Pooled(OURS, FusedEngine(model, arithmetic, group.threads), group.units, pools)


def tensorflow(model: ModelDirectory, rows: Ragged, group: Group, options: argparse.Namespace) -> Contestant:
    """The tensorflow engine, on as many of the rows as it computes in a turn.

    Raises:
        ImportError: TensorFlow isn't installed.
    """
    from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - may not be installed

    engine = TensorFlowEngine(model, device="cpu", threads=group.threads)

    def contestant(tokens: float) -> Contestant:
        count = min(rows.rows, max(1, round(tokens / len(rows.values) * rows.rows)))
        chosen = ((np.arange(count) + 0.5) * rows.rows / count).astype(int)
        return Pooled("tensorflow engine", engine, group.units, [take(rows, chosen)])

    trial = contestant(5_000)
    trial.turn(0)
    return contestant(timed(trial.turn, 0) * options.seconds)


def run(group: Group, options: argparse.Namespace) -> list[Figure]:
    """Let all contestants take turns on one text with one model, and print the results."""
    text = rows_of(group.text)
    rows = text.take(0, min(text.rows, options.rows or text.rows))
    print(f"{group.text} ({rows.rows:,} rows, {len(rows.values):,} tokens), {group.units} units,", end=" ")
    print(f"embedding {group.embedding}, {group.threads} thread{'s' if group.threads > 1 else ''}", flush=True)

    def figure(contestant: str, arithmetic: str, detail: str, difference: float, unit: str, turns: Turns) -> Figure:
        return Figure(
            f"{processor()}, {os.cpu_count()} cores", group.text, rows.rows, len(rows.values), group.units,
            group.embedding, group.threads, arithmetic, contestant, detail, difference, unit, turns.rates, turns.calm,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as directory:
        model = make_model(directory, VOCAB, int(rows.lengths.max()), group.units, group.embedding)
        everyone = list(contestants(model, rows, group, options))
        few = checked_rows(rows)
        exact = exact_states(model, few)
        differences = [float(f"{np.abs(one.states(few) - exact).max():.1e}") for one in everyone]
        turns = take_turns([one.turn for one in everyone], options.repeats, gauge(group.threads))
    figures = [
        figure(one.name, one.arithmetic, one.detail, difference, "tokens/s", found)
        for one, difference, found in zip(everyone, differences, turns, strict=True)
    ]
    top = peaks(group.threads)
    figures += [figure(name, kind, "", 0.0, "operations/s", Turns((rate,), ())) for (name, kind), rate in top.items()]
    report(figures)
    return figures


def checked_rows(rows: Ragged) -> Ragged:
    """A few rows, with lengths up to CHECKED_LENGTH."""
    order = np.argsort(rows.lengths, kind="stable")
    order = order[: max(1, np.searchsorted(rows.lengths[order], CHECKED_LENGTH, side="right"))]
    return take(rows, order[np.linspace(0, len(order) - 1, min(CHECKED_ROWS, len(order))).astype(int)])


def report(figures: list[Figure]) -> None:
    """Print a table, and the fused engine's rate divided by the fastest other library's and by its own in float32."""
    own_float32 = next((f for f in figures if (f.contestant, f.arithmetic) == (OURS, "float32")), None)
    for arithmetic in ARITHMETICS:
        some = [figure for figure in figures if figure.arithmetic == arithmetic]
        for f in sorted((f for f in some if f.unit == "tokens/s"), key=lambda f: -f.rate):
            print(f"  {arithmetic:10} {f.contestant:18} {f.rate:12,.0f} tokens/s ({min(f.rates):,.0f}-", end="")
            print(f"{max(f.rates):,.0f}), {f.detail}, error at most {f.difference:.1e}")
        ours, peer = next((f for f in some if f.contestant == OURS), None), best_peer(some, arithmetic)
        for other in (peer, own_float32 if arithmetic != "float32" else None):
            if ours and other:
                found = ratios(ours, other)
                name = f"{other.contestant} in {other.arithmetic}"
                print(f"  {arithmetic:10} {OURS} / {name}: {statistics.median(found):.2f}", end=" ")
                print(f"({found[0]:.2f}-{found[-1]:.2f})", end="")
                quiet = quiet_ratio(ours, other)
                counts = f"{len(ours.quiet_rates)} and {len(other.quiet_rates)} of {len(found)}"
                print("" if quiet is None else f", in quiet turns {quiet:.2f} ({counts})")
        for f in some:
            if f.unit == "operations/s":
                print(f"  {arithmetic:10} {f.contestant}: {f.rate / 1e9:,.0f} GFLOP/s", flush=True)


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
