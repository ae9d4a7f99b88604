"""The engine of `unrolled run` where none is named."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
CODE = (
    "from producer.local.engine import local_engine; import sys; print(local_engine(), 'worker.engines' in sys.modules)"
)


def asked(path):
    """The answer of a fresh process with this directory before the repository in its path."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": f"{path}:{REPOSITORY}", "PATH": ""},
        cwd=path,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(("kernel", "engine"), [(True, "fused"), (False, "tensorflow")])
def test_it_is_fused_where_the_kernel_was_built(tmp_path, kernel, engine):
    """Only looked for: nothing of the worker is imported."""
    package = tmp_path / "worker" / "engines" / "fused"
    package.mkdir(parents=True)
    (tmp_path / "worker" / "__init__.py").touch()
    if kernel:
        (package / "_kernel.so").touch()
    assert asked(tmp_path) == [engine, "False"]
