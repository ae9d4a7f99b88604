"""What it costs a worker to be asked for its figures: processor time of one answer, and throughput while it is asked.

    python benchmarks/scraping.py [--units 256] [--threads 1] [--per-second 20] [--windows 40] [--window-seconds 1.0]

The engine computes one pool over and over through `worker.pool`, as in a worker, and the figures are served as
`--metrics-port` serves them. Windows in which another process asks many times a second take turns with windows in which
no one asks; each pair gives a ratio. The loss at Prometheus's usual interval of 15 seconds is the loss at the rate that
was measured, scaled: the answers don't depend on each other. `processor` is the server's own time for an answer.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import numpy as np

from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from unrolled.telemetry.server import MetricsServer
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused.engine import FusedEngine
from worker.pool.buffers import Buffers
from worker.pool.pool import Pool
from worker.runtime.telemetry.figures import Now, figures
from worker.runtime.telemetry.metrics import Metrics

VOCABULARY, LENGTH, ROWS = 10_000, 20, 400
SCRAPE_SECONDS = 15.0
#: Asks for the figures at a rate, for as long as its standard input says so.
CLIENT = """
import sys, time, urllib.request
url, pause = sys.argv[1], float(sys.argv[2])
for line in sys.stdin:
    count, until = 0, time.monotonic() + float(line)
    while (now := time.monotonic()) < until:
        urllib.request.urlopen(url).read()
        count += 1
        time.sleep(max(0.0, pause - (time.monotonic() - now)))
    print(count, flush=True)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--per-second", type=float, default=20.0)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--window-seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    metrics = Metrics()
    with tempfile.TemporaryDirectory(prefix="unrolled-scraping-") as folder:
        config = ModelConfig.stacked(
            vocab_size=VOCABULARY, max_length=64, num_lstm_units=arguments.units, num_lstm_layers=2, embedding_dim=10
        )
        model = save_model(Path(folder) / "model", config, new_weights(config, 1))
        engine = FusedEngine(model, threads=arguments.threads)
        print(engine.description)
        labels = {"model": model.fingerprint[:12], "engine": "fused", "arithmetic": "float32", "kernel": engine.isa}

        def collect() -> object:
            return figures(labels | {"threads": "1"}, metrics.tallies(), Now(1, 1.0, 1.0, 1, 1, 0))

        with closing(MetricsServer(collect, 0, "127.0.0.1")) as server:  # type: ignore[arg-type]
            print(f"processor: {1000 * cost_of_an_answer(server.url):.2f} ms an answer")
            compare(engine, metrics, server.url, arguments, OutputSpec().columns(config))


def cost_of_an_answer(url: str, answers: int = 200) -> float:
    """Seconds of this process's processor time for an answer, the asking included."""
    for _ in range(20):
        urllib.request.urlopen(url).read()
    began = time.process_time()
    for _ in range(answers):
        urllib.request.urlopen(url).read()
    return (time.process_time() - began) / answers


def compare(engine: FusedEngine, metrics: Metrics, url: str, arguments: argparse.Namespace, columns: object) -> None:
    """Compute through the pool, and compare windows with and without questions."""
    # Over 40 lines: one comparison, from its pool to its line.
    rng = np.random.default_rng(1)
    values = rng.integers(1, VOCABULARY, ROWS * LENGTH, dtype=np.int32)
    shard = Ragged(values, np.arange(0, ROWS * LENGTH + 1, LENGTH, dtype=np.int64))
    pool = Pool(engine, Buffers(2**30), metrics, 2**18)
    pool.start()
    stopped = threading.Event()

    def feed() -> None:
        while not stopped.is_set():
            with pool.compute("job", shard, columns):  # type: ignore[arg-type]
                pass

    feeders = [threading.Thread(target=feed, daemon=True) for _ in range(2)]
    for feeder in feeders:
        feeder.start()
    words = [sys.executable, "-c", CLIENT, url, str(1 / arguments.per_second)]
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin
    assert client.stdout

    def rate(seconds: float, *, asked: bool) -> tuple[float, float]:
        """Tokens and questions a second over a window."""
        before, began, count = metrics.snapshot()["tokens"], time.perf_counter(), 0
        if asked:
            client.stdin.write(f"{seconds}\n")
            client.stdin.flush()
            count = int(client.stdout.readline())
        else:
            time.sleep(seconds)
        took = time.perf_counter() - began
        return (metrics.snapshot()["tokens"] - before) / took, count / took

    rate(2 * arguments.window_seconds, asked=True)
    ratios, rates, asked_rates = [], [], []
    for number in range(arguments.windows // 2):
        order = (True, False) if number % 2 else (False, True)
        found = {asked: rate(arguments.window_seconds, asked=asked) for asked in order}
        ratios.append(found[True][0] / found[False][0])
        rates.append(found[False][0])
        asked_rates.append(found[True][1])
    stopped.set()
    for feeder in feeders:
        feeder.join()
    pool.close()
    client.stdin.close()
    client.wait()
    loss, per_second = 1 - statistics.median(ratios), statistics.median(asked_rates)
    low, high = np.percentile(ratios, [25, 75])
    print(f"throughput: {statistics.median(rates):,.0f} tokens/s when no one asks")
    print(f"asked {per_second:.1f} times a second: {100 * loss:.2f} % less (ratios {low:.4f} to {high:.4f}, quartiles)")
    print(f"asked every {SCRAPE_SECONDS:g} s: {100 * loss / per_second / SCRAPE_SECONDS:.4f} % less")


if __name__ == "__main__":
    main()
