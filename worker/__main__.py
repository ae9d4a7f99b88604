"""`python -m worker`: the same as `unrolled worker`."""

from worker.cli.worker import worker

worker(auto_envvar_prefix="UNROLLED", prog_name="python -m worker")
