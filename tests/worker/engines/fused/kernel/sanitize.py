"""The fused kernel under sanitizers: `python tests/worker/engines/fused/kernel/sanitize.py` builds and runs pools.cpp.

Addresses and undefined behaviour first, then data races, on every instruction set that this machine has. `--units 16`
computes models of that size alone, `--isas avx2` names instruction sets, and `--only thread` one of the two programs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from worker.engines.fused.build import compile_kernel
from worker.engines.fused.library import ISAS

SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}
# GCC before 14 doesn't align vectors of 64 bytes in the frames with which this check replaces those of the stack.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_stack_use_after_return=0"}
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-g", "-O1")


def main() -> int:
    """Run all; the exit status is the number of runs that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isas", nargs="+", choices=ISAS, default=ISAS)
    parser.add_argument("--units", nargs="+", default=["1", "16", "37"])
    parser.add_argument("--only", choices=SANITIZERS)
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, flags in SANITIZERS.items():
            if options.only not in (None, name):
                continue
            program = Path(scratch) / "pools"
            source = Path(__file__).with_name("pools.cpp")
            compile_kernel(program, sources=[source], flags=[*WARNINGS, *flags], link=[])
            for isa in options.isas:
                command = [str(program), isa, *options.units]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
                failed += done.returncode != 0
                verdict = "ok" if done.returncode == 0 else f"status {done.returncode}\n{done.stderr[-4000:]}"
                sys.stdout.write(f"{flags[0]} {isa}: {verdict}\n")
                sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(main())
