"""What may be skipped where CI is set, by running pytest on small files of tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def run(place, source, **variables):
    """Run one file of tests under this suite's own conftest; gives its last line."""
    (place / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (place / "test_it.py").write_text(source)
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "UNROLLED_LONG")}
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={place}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={**kept, "PYTHONPATH": path, **variables},
    )
    return done.stdout.strip().splitlines()[-1]


PACKAGE = "import pytest\ndef test_one():\n    pytest.importorskip('no_such_package')\n"
FILE = "import pytest\npytest.importorskip('no_such_package')\n"
COMPILER = "import pytest\n@pytest.mark.skipif(True, reason='no C++ compiler found')\ndef test_one(): pass\n"
MACHINE = "from support.skips import unless\n@unless(False, 'needs a GPU')\ndef test_one(): pass\n"
LONG = "from support.skips import long\n@long('an hour')\ndef test_one(): pass\n"


@pytest.mark.parametrize("source", [PACKAGE, FILE, COMPILER], ids=["package", "whole file", "compiler"])
def test_what_is_missing_fails_in_ci(tmp_path, source):
    """A skip at home is a failure there, for the machine of CI has all that can be installed."""
    assert "skipped" in run(tmp_path, source)
    found = run(tmp_path, source, CI="true")
    assert "1 failed" in found or "1 error" in found


@pytest.mark.parametrize("source", [MACHINE, LONG], ids=["machine", "long"])
def test_what_can_not_be_installed_is_skipped_in_ci(tmp_path, source):
    """A GPU, or an hour, is no package."""
    assert "1 skipped" in run(tmp_path, source, CI="true")
