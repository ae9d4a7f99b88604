"""How much faster Ray Data embeds texts with two actors of one thread each than with one.

    python benchmarks/ray_actors.py [--units 512] [--texts 24000] [--batch 1024] [--repeats 5]
        [--results ray_actors.tsv]

The docstrings of Python's standard library, several times over, go through `map_batches` with `unrolled.Embedder`, in
turns with one actor and with two. The same batches then go through one process and through two processes without Ray,
which shows what the machine allows: two cores share their caches, their memory, and this machine's other work.

An actor loads the model before its first batch. Two rates are printed. The first counts from the beginning of the first
batch to the end of the last one, so it includes what an actor waits for the other at both ends. The second is that of
steady work: for each actor its texts after the first batch, divided by the time that it took for them, waiting
included. Ray's own start, and loading, are in neither. Needs Ray, and two free processor cores.
"""

# Over 150 lines: with Ray and without it, the same batches and the same notes of them.

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from encode import make_model
from machine import append

import unrolled
from producer.demo.docstrings import docstrings

if TYPE_CHECKING:
    import ray

#: Of each batch: the process, when it began and ended, the processor time that it took, and its tokens.
COLUMNS = ("process", "began", "ended", "processor", "tokens")


class Timed:
    """The embedder, which notes for each batch who computed it, and when."""

    def __init__(self, model: str) -> None:
        self._embed = unrolled.Embedder(model, column="text")
        self._embed(pa.table({"text": ["loads the model"]}))

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table's vectors, and the notes."""
        began, processor = time.time(), time.process_time()
        found = self._embed(table)
        ended, processor = time.time(), time.process_time() - processor
        rows, tokens = len(table), sum(table["tokens"].to_pylist())
        notes = zip(COLUMNS, (os.getpid(), began, ended, processor, tokens), strict=True)
        return pa.table({"embedding": found["embedding"], **{name: [value] * rows for name, value in notes}})


def main() -> None:
    """Embed the texts in turns, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--texts", type=int, default=24_000)
    parser.add_argument("--batch", type=int, default=1024, help="rows in a batch, and in a block of Ray")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, help="append the figures to this file")
    arguments = parser.parse_args()
    import ray  # noqa: PLC0415 - --help needs no Ray

    known = [text for _, text in docstrings()]
    with tempfile.TemporaryDirectory(prefix="unrolled-ray-") as folder:
        make_model(Path(folder) / "model", known, arguments.units)
        model = str(Path(folder) / "model")
        tables = batches(model, list(islice(cycle(known), arguments.texts)), arguments.batch)
        path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
        os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.wait_for_min_actors_s = 600  # so that no actor waits for the start of another one
        rows = ray.data.from_arrow(tables).materialize()
        notes: dict[str, list[list[dict[str, Any]]]] = {}
        with_ray(rows, model, arguments.batch, 2)  # Ray starts helpers of its own with the first data set
        for turn in range(arguments.repeats):
            for count in (1, 2):
                for kind, found in (
                    ("Ray", with_ray(rows, model, arguments.batch, count)),
                    ("no Ray", without_ray(tables, model, count)),
                ):
                    notes.setdefault(f"{kind}, {count}", []).append(found)
                    print(f"turn {turn}, {kind}, {count}: {described(found)}", flush=True)
        ray.shutdown()
    report(notes, arguments)


def report(notes: dict[str, list[list[dict[str, Any]]]], arguments: argparse.Namespace) -> None:
    """Print the rates of all turns, and append them to a file if one is named."""
    settings = {name: getattr(arguments, name) for name in ("units", "texts", "batch")}
    for name, rate in (("whole", whole), ("steady", steady)):
        rates = {f"{kind}, {name}": [rate(each) for each in turns] for kind, turns in notes.items()}
        if arguments.results:
            append(arguments.results, settings, rates)
        for kind in ("Ray", "no Ray"):
            one, two = (rates[f"{kind}, {count}, {name}"] for count in (1, 2))
            ratios = [more / fewer for more, fewer in zip(two, one, strict=True)]
            print(
                f"{kind}, {name}: {statistics.median(one):,.0f} and {statistics.median(two):,.0f} tokens/s; two are"
                f" {statistics.median(ratios):.2f} times as fast as one ({min(ratios):.2f} to {max(ratios):.2f})"
            )


def batches(model: str, texts: list[str], rows: int) -> list[pa.Table]:
    """The texts in batches of as many rows, each with texts from everywhere, so that all take about as long."""
    lengths = [len(ids) for ids in unrolled.load(model).tokenize(texts)]
    count = -(-len(texts) // rows)
    return [pa.table({"text": texts[at::count], "tokens": lengths[at::count]}) for at in range(count)]


def with_ray(rows: ray.data.Dataset, model: str, batch: int, actors: int) -> list[dict[str, Any]]:
    """The notes of each batch."""
    import ray  # noqa: PLC0415 - --help needs no Ray

    found = rows.map_batches(
        Timed,
        fn_constructor_args=(model,),
        batch_format="pyarrow",
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
    ).materialize()
    return noted(ray.get(found.to_arrow_refs()))


def without_ray(tables: list[pa.Table], model: str, processes: int) -> list[dict[str, Any]]:
    """The notes of each batch: every process takes the next batch when it has computed one."""
    spawn = multiprocessing.get_context("spawn")
    left, notes, ready = spawn.Queue(), spawn.Queue(), spawn.Barrier(processes)
    for number in [*range(len(tables)), *[None] * processes]:
        left.put(number)
    started = [spawn.Process(target=compute, args=(tables, model, left, notes, ready)) for _ in range(processes)]
    for process in started:
        process.start()
    found = [notes.get() for _ in tables]
    for process in started:
        process.join()
    return sorted(found, key=lambda note: note["began"])


def compute(tables: list[pa.Table], model: str, left: Any, notes: Any, ready: Any) -> None:
    """One process of `without_ray`."""
    timed = Timed(model)
    ready.wait()
    while (number := left.get()) is not None:
        (note,) = noted([timed(tables[number])])
        notes.put(note)


def noted(tables: list[pa.Table]) -> list[dict[str, Any]]:
    """The notes of each batch, by their beginning."""
    every = {tuple(row.values()): row for table in tables for row in table.select(COLUMNS).to_pylist()}
    return sorted(every.values(), key=lambda note: note["began"])


def by_process(notes: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The notes of each process."""
    return [[note for note in notes if note["process"] == each] for each in {note["process"] for note in notes}]


def whole(notes: list[dict[str, Any]]) -> float:
    """Tokens a second from the beginning of the first batch to the end of the last one."""
    seconds = max(note["ended"] for note in notes) - min(note["began"] for note in notes)
    return float(sum(note["tokens"] for note in notes) / seconds)


def steady(notes: list[dict[str, Any]]) -> float:
    """Tokens a second of all processes, each after its first batch."""
    return float(
        sum(
            sum(note["tokens"] for note in mine[1:]) / (mine[-1]["ended"] - mine[0]["ended"])
            for mine in by_process(notes)
            if len(mine) > 1
        )
    )


def described(notes: list[dict[str, Any]]) -> str:
    """What a turn took."""
    busy = sum(note["ended"] - note["began"] for note in notes)
    processor = sum(note["processor"] for note in notes)
    shares = " and ".join(str(len(mine)) for mine in by_process(notes))
    return (
        f"{whole(notes):,.0f} tokens/s, steady {steady(notes):,.0f}; {shares} batches;"
        f" {processor / busy:.2f} processors busy in a batch"
    )


if __name__ == "__main__":
    main()
