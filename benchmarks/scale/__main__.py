"""scale"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import looks
from big_job import make_job
from figures import apart


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="unrolled-scale-") as folder:
        place = Path(folder) / "out"
        make_job(place, arguments.shards, arguments.segments, arguments.waiting)
        for f in (
            apart(looks.read_log, place, arguments.shards)
            + apart(looks.read_status, place, arguments.shards, arguments.shards - arguments.waiting)
            + apart(looks.sweep_all, place, arguments.shards)
        ):
            print(f.line(), flush=True)


main()
