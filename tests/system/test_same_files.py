"""A job, done again, gives equal files, whatever pools its rows went through."""

from functools import partial

import numpy as np
import pytest
from support.broker import RestartableBroker
from support.jobs import log_of, published
from support.processes import eventually
from support.shell import Crew, make_model, unrolled, write_rows

from unrolled.protocol.opening import open_job
from worker.engines.fused.library import why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


def rows_that_share(count):
    """Rows of which many begin alike and some are equal, with zeros anywhere."""
    random = np.random.default_rng(0)
    stems = [random.integers(0, 51, random.integers(1, 30)).tolist() for _ in range(count // 8)]
    rows = [
        stems[random.integers(len(stems))] + random.integers(0, 51, random.integers(0, 12)).tolist()
        for _ in range(count)
    ]
    return {f"row-{number}": row for number, row in enumerate(rows)}


def complete(out):
    job = open_job(out)
    return len(published(job)) == len(log_of(job).entries)


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_files_of_jobs_with_other_pools_are_equal(arithmetic, tmp_path):
    """One worker with one thread and pools of one shard, against two workers whose threads and pools are larger."""
    make_model(tmp_path / "model", units=40)
    write_rows(tmp_path / "rows.jsonl", rows_that_share(1500))
    fleets = {
        "alone": [{"threads": 1, "pool_tokens": 1, "concurrency": 1}],
        "crowd": [{"threads": 2, "concurrency": 8}, {"threads": 3, "pool_tokens": 5000, "concurrency": 4}],
    }
    with RestartableBroker(port=0) as server:
        settings = {"broker": server.url, "model": tmp_path / "model"}
        for name, fleet in fleets.items():
            out = tmp_path / name
            done = unrolled(
                "enqueue",
                "rows.jsonl",
                "--out",
                out,
                "--shard-tokens",
                2500,
                "--arithmetic",
                arithmetic,
                cwd=tmp_path,
                **settings,
            )
            assert done.returncode == 0, done.stderr
            with Crew() as crew:
                for number, facts in enumerate(fleet):
                    log = tmp_path / f"{name}-{number}.log"
                    crew.worker(log, engine="fused", arithmetic=arithmetic, **settings, **facts)
                eventually(partial(complete, out), f"{name}'s files")
    files = {name: {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.parquet")} for name in fleets}
    assert len(files["alone"]) > 8
    assert files["alone"] == files["crowd"]
