"""Prints, as one JSON object, what the fused engine can do on this machine: `python -m worker.engines.fused`.

`unrolled doctor` runs it. "rate" is the number of operations of products per second on all threads, measured now.
"""

import json
import sys

from unrolled.errors import BrokenWorkerError
from worker.engines.cpus import threads_for
from worker.engines.fused import library


def main() -> None:
    """Measure each arithmetic for some hundredths of a second."""
    found: dict[str, object] = {"problem": library.why_unavailable(), "tiles": None, "arithmetics": {}}
    if found["problem"] is None:
        found["tiles"] = library.why_no_tiles()
        try:
            found["arithmetics"] = {arithmetic: _measured(arithmetic) for arithmetic in library.ARITHMETICS}
        except BrokenWorkerError as error:
            found["problem"] = str(error)
    json.dump(found, sys.stdout)


def _measured(arithmetic: str) -> dict[str, object] | None:
    isa = library.kernel_isa(library.forced_isa(), arithmetic)
    if isa is None:
        return None
    threads = threads_for(isa)
    return {"isa": isa, "threads": threads, "rate": library.rate(arithmetic, threads)}


if __name__ == "__main__":
    main()
