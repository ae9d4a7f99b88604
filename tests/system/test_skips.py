"""What may be skipped where CI is set, by running pytest on small files of tests."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

TESTS = Path(__file__).parents[1]
MORE = ["--continue-on-collection-errors", "--junitxml=found.xml"]


#: Skips that are failures in CI, where all that can be installed is.
MISSING = {
    "package": "import pytest\ndef test_one():\n    pytest.importorskip('no_such_package')\n",
    "file": "import pytest\npytest.importorskip('no_such_package')\n",
    "compiler": "import pytest\n@pytest.mark.skipif(True, reason='no C++ compiler found')\ndef test_one(): pass\n",
}
#: Skips that stay skips there: a GPU, or an hour, is no package.
ALLOWED = {
    "machine": "from support.skips import unless\n@unless(False, 'needs a GPU')\ndef test_one(): pass\n",
    "long": "from support.skips import long\n@long('an hour')\ndef test_one(): pass\n",
}


def run(place, **variables):
    """Run these files under this suite's own conftest; the last word on each: skipped, failed or error."""
    (place / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    for name, source in (MISSING | ALLOWED).items():
        (place / f"test_{name}.py").write_text(source)
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "UNROLLED_LONG")}
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={place}", *MORE],
        capture_output=True,
        check=False,
        cwd=place,
        env={**kept, "PYTHONPATH": path, **variables},
    )
    cases = ET.parse(place / "found.xml").iter("testcase")
    return {(case.get("classname") or case.get("name")).removeprefix("test_"): case[0].tag for case in cases}


def test_what_is_missing_fails_in_ci(tmp_path):
    """A skip at home is a failure there, unless it names a machine or a length."""
    assert run(tmp_path) == dict.fromkeys(MISSING | ALLOWED, "skipped")
    found = run(tmp_path, CI="true")
    assert {name for name, outcome in found.items() if outcome in ("failure", "error")} == MISSING.keys()
    assert {name for name, outcome in found.items() if outcome == "skipped"} == ALLOWED.keys()
