"""What threads free serves the others, and what is large goes back to the system."""

import subprocess
import sys

import pytest

KEPT = """
import sys, threading
import numpy as np
from pathlib import Path
from unrolled.process.allocator import share_arenas

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "shared" and not share_arenas():
    sys.exit("no glibc")
np.ones(2**24, np.uint8)[:0]  # once 16 MiB were freed, glibc takes less than that from its arenas
before = resident()
barrier = threading.Barrier(9)

def work(turn):
    barrier.wait()
    for k in range(8):  # one thread after the other, but each from its own arena
        if k == turn:
            parts = [np.ones(2**20, np.uint8) for _ in range(8)]
            del parts
        barrier.wait()
    barrier.wait()

for turn in range(8):
    threading.Thread(target=work, args=(turn,)).start()
for _ in range(9):
    barrier.wait()
print((resident() - before) / 2**20)
barrier.wait()
"""

LARGE = """
import sys
from pathlib import Path
import numpy as np
from unrolled.process.allocator import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "returned" and not return_large_blocks():
    sys.exit("no glibc")
np.ones(2**24, np.uint8)[:0]
before = resident()
blocks = [np.ones(2**23, np.uint8) for _ in range(8)]
last = np.ones(1000, np.uint8)  # above them, so that glibc can't lower the end of what it has
del blocks
print((resident() - before) / 2**20)
"""


def kept_mib(how, script=KEPT):
    done = subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=False)
    if done.returncode and "no glibc" in done.stderr:
        pytest.skip("machine: the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="machine: glibc's own")
def test_threads_share_what_they_freed():
    """Eight threads that take and free 8 MiB in turn keep less than half of what they keep each for itself."""
    assert kept_mib("shared") < kept_mib("alone") / 2


@pytest.mark.skipif(sys.platform != "linux", reason="machine: glibc's own")
def test_large_blocks_are_returned():
    """Of 64 MiB in blocks of 8, less than a half is kept."""
    assert kept_mib("returned", LARGE) < kept_mib("kept", LARGE) / 2
