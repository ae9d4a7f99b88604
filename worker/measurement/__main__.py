"""`python -m worker.measurement` measures for a few seconds how fast this machine computes and writes some rows.

`unrolled plan` starts it. Standard input is a payload (`unrolled.job.payload`) whose facts are the request
(`unrolled.settings.measurement`). The answers are JSON lines on standard output: {"event": "ready"} as soon as the
engine can compute, then {"event": "measured", …} or {"event": "failed", "text": …}.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from unrolled.errors import UnrolledError
from unrolled.job.payload import decode
from unrolled.settings.measurement import MeasurementRequest
from worker.measurement.session import Session


def main() -> int:
    """Measure, and return the exit status."""
    try:
        payload = decode(sys.stdin.buffer.read())
        request = MeasurementRequest.from_facts(payload.facts)
        for name in ("celery.app", "redis"):  # a worker has them in memory too
            importlib.import_module(name)
        session = Session(request, payload.tokens)
        report("ready", description=session.description)
        report("measured", **session.measure())
    except (UnrolledError, MemoryError, OSError) as error:
        report("failed", text=str(error) or type(error).__name__)
        return 1
    return 0


def report(event: str, **facts: Any) -> None:
    """Write one JSON line."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
