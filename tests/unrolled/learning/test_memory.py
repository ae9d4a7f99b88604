"""A shuffled epoch over a job that is larger than the memory which the process may take."""

import json
import subprocess
import sys

import numpy as np
from support.random_parts import write_part
from support.shell import environment
from support.skips import unless

PARTS, ROWS_PER_PART, ROW_TOKENS, WIDTH = 110, 100, 64, 128
#: In each part, which is one row group; 64 MB of them are mixed, and four are read ahead.
PART_BYTES = ROWS_PER_PART * ROW_TOKENS * WIDTH * 4
#: What the process may take in addition to what it has after its imports and its first rows. It needs up to the size of
#: ten parts beside those that are mixed: the allocator gives memory back later at one time than at another.
MORE_BYTES = 64_000_000 + 20 * PART_BYTES

PROGRAM = f"""
import json, resource, sys
import unrolled

examples = unrolled.Examples(dataset=unrolled.open(sys.argv[1]), seed=1)
next(examples.batches(8))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = 1024 * int(status["VmData"].split()[0]) + {MORE_BYTES}
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
ids = [name for batch in examples.batches(8) for name in batch.ids]
try:
    unrolled.open(sys.argv[1]).to_arrow()
    whole = "fits"
except (MemoryError, unrolled.UnrolledError) as error:
    whole = type(error).__name__
print(json.dumps([ids, whole]))
"""


@unless(sys.platform == "linux", "Linux limits the memory that a process may write to")
def test_a_job_larger_than_memory(tmp_path):
    """Every row comes once, in another order than the job's; all rows at once don't fit."""
    assert PARTS * PART_BYTES > 2.5 * MORE_BYTES
    names = [f"row-{number}" for number in range(PARTS * ROWS_PER_PART)]
    for part in range(PARTS):
        ids = names[part * ROWS_PER_PART : (part + 1) * ROWS_PER_PART]
        write_part(tmp_path, part, ids, np.full(ROWS_PER_PART, ROW_TOKENS), WIDTH)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment() | {"ARROW_DEFAULT_MEMORY_POOL": "system"},  # it gives memory back at once
    )
    assert done.returncode == 0, done.stderr
    found, whole = json.loads(done.stdout)
    assert sorted(found) == sorted(names)
    assert found != names
    assert whole != "fits"
