"""The fused kernel under sanitizers: `python tests/worker/engines/fused/kernel/sanitize.py` builds and runs pools.cpp.

Addresses and undefined behaviour first, then data races, on every instruction set that this machine has.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from worker.engines.fused.build import compile_kernel
from worker.engines.fused.library import ISAS

SANITIZERS = (
    ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    ("-fsanitize=thread",),
)
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-g", "-O1")


def main() -> int:
    """Run all; the exit status is the number of runs that failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for flags in SANITIZERS:
            program = Path(scratch) / "pools"
            source = Path(__file__).with_name("pools.cpp")
            compile_kernel(program, sources=[source], flags=[*WARNINGS, *flags], link=[])
            for isa in ISAS:
                done = subprocess.run([str(program), isa], capture_output=True, text=True, check=False)
                failed += done.returncode != 0
                verdict = "ok" if done.returncode == 0 else f"status {done.returncode}\n{done.stderr[-4000:]}"
                sys.stdout.write(f"{flags[0]} {isa}: {verdict}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
