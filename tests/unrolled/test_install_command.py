"""`install_command`: what a message advises names where this copy of unrolled came from."""

import json
import shlex
import subprocess
import sys

import pytest
from support.shell import REPOSITORY

_CODE = "from unrolled.errors import install_command; print(install_command('import,cloud'))"


def said(record, folder):
    """What a program says in whose environment an installer has left such a record, run in such a folder."""
    site = folder / "site"
    info = site / "unrolled-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unrolled\nVersion: 0.1.0\n")
    if record is not None:
        (info / "direct_url.json").write_text(record)
    path = f"import sys; sys.path[:0] = [{str(site)!r}, {str(REPOSITORY)!r}]; "
    done = subprocess.run(
        [sys.executable, "-c", path + _CODE], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.removesuffix("\n")


def test_a_clone_is_named(tmp_path):
    """Also one whose name a shell or a URL would take apart."""
    clone = tmp_path / "my clone's 100%"
    clone.mkdir()
    command = said(json.dumps({"url": clone.as_uri(), "dir_info": {}}), tmp_path)
    assert shlex.split(command) == ["pip", "install", f"{clone}[import,cloud]"]


def test_in_the_clone_it_is_what_the_readme_says(tmp_path):
    """Short, and an editable installation stays one."""
    record = json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert said(record, tmp_path) == "pip install --editable '.[import,cloud]'"


def test_a_wheel_is_named(tmp_path):
    """While it is there."""
    wheel = tmp_path / "unrolled-0.1.0-cp311-cp311-linux_x86_64.whl"
    wheel.touch()
    record = json.dumps({"url": wheel.as_uri(), "archive_info": {"hash": "sha256=0"}})
    assert said(record, tmp_path) == f"pip install '{wheel}[import,cloud]'"


@pytest.mark.parametrize(
    "record",
    [
        None,
        '{"url": "file:///no/such/clone", "dir_info": {"editable": true}}',
        '{"url": "https://example.org/unrolled.git", "vcs_info": {"vcs": "git", "commit_id": "0"}}',
        '{"url": 1}',
        '{"url": "file:///tmp", "dir_info": []}',
        "[]",
        "{",
        "",
    ],
)
def test_otherwise_an_index_is_asked(record, tmp_path):
    """What was installed from one has no record; a clone may be gone, and a record may be of any kind."""
    assert said(record, tmp_path) == "pip install 'unrolled[import,cloud]'"
