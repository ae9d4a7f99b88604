"""How many files a process may have open."""

import subprocess
import sys

import pytest

CODE = """if True:
    import resource, sys
    from unrolled.process.open_files import allow_open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
    try:
        allow_open_files()
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))
    except Exception as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [
        (40, 40, "this process may have 40 files open, and a worker needs 48: raise the limit, with `ulimit -n 1024`"),
        (40, 500, "500 500"),
        (300, 500, "500 500"),
        (48, 48, "48 48"),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(soft, hard, said):
    """Below what a worker needs, it says so."""
    command = [sys.executable, "-c", CODE, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)
