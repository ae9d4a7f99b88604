"""A worker process that is real but for its engine; settings and the engine's plan come from the environment."""

import os
import sys

from support.counting_engine import CountingEngine, Plan

from worker.cli.worker import run_worker
from worker.settings import Settings

if __name__ == "__main__":
    plan = Plan.from_environ()
    sys.exit(
        run_worker(
            Settings.from_environ(os.environ),
            "INFO",
            lambda _, __: CountingEngine(plan),
        )
    )
