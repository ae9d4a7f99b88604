"""How much faster Ray Data embeds texts with two actors of one thread each than with one.

    python benchmarks/ray_actors.py [--units 512] [--texts 12000] [--repeats 3]

The docstrings of Python's standard library, several times over, go through `map_batches` with `unrolled.Embedder`, in
turns with one actor and with two. The clock runs from the first call of an actor, which loads the model, to the end of
the last batch; Ray's own start of the actors isn't counted. Prints the seconds of each turn, the median tokens a second
and the median ratio. Needs Ray, and two free processor cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import ray
from encode import make_model

import unrolled
from producer.demo.docstrings import docstrings

BATCH_ROWS = 256


class Timed:
    """The embedder, which notes for each batch when it began and ended."""

    def __init__(self, model: str) -> None:
        self._embed = unrolled.Embedder(model, column="text")

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with its vectors, and the two times."""
        began = time.time()
        found = self._embed(table)
        ended = time.time()
        times = {"began": [began] * len(table), "ended": [ended] * len(table)}
        return pa.table({"embedding": found["embedding"], **times})


def main() -> None:
    """Embed the texts in turns, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--texts", type=int, default=12_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    known = [text for _, text in docstrings()]
    texts = list(islice(cycle(known), arguments.texts))
    with tempfile.TemporaryDirectory(prefix="unrolled-ray-") as folder:
        make_model(Path(folder) / "model", known, arguments.units)
        model = str(Path(folder) / "model")
        tokens = sum(len(ids) for ids in unrolled.load(model).tokenize(texts))
        path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}}
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = ray.data.from_arrow([pa.table({"text": texts[at::32]}) for at in range(32)]).materialize()
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(arguments.repeats):
            for actors, each in seconds.items():
                each.append(embed(rows, model, actors))
                print(f"turn {turn}, {actors} of 2 actors: {each[-1]:.1f} s", flush=True)
        ray.shutdown()
    for actors, each in seconds.items():
        print(f"{actors} of 2 actors: {tokens / statistics.median(each):,.0f} tokens/s")
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    print(f"two actors are {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})")


def embed(rows: ray.data.Dataset, model: str, actors: int) -> float:
    """The seconds from the beginning of the first batch to the end of the last one."""
    found = rows.map_batches(
        Timed,
        fn_constructor_args=(model,),
        batch_format="pyarrow",
        batch_size=BATCH_ROWS,
        concurrency=actors,
        num_cpus=1,
    ).materialize()
    return float(found.max("ended") - found.min("began"))


if __name__ == "__main__":
    main()
