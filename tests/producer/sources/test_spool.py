"""The temporary file of an input, and those that killed processes have left."""

import os
import tempfile
from pathlib import Path

from producer.sources.streams.spool import disk_directory, spooled


def test_files_of_killed_processes_are_removed(tmp_path, monkeypatch):
    """Only those: not one that is in use, not one that has just been made, and nothing that a link leads to."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "target").write_bytes(b"of the user")
    with spooled([b"ab", b"c"]) as alive:
        for name in ("dead", "new"):
            (tmp_path / f"unrolled-input-{name}").write_bytes(b"half")
        (tmp_path / "unrolled-input-link").symlink_to(tmp_path / "target")
        for path in (alive, tmp_path / "unrolled-input-dead", tmp_path / "target"):
            os.utime(path, (0, 0))
        with spooled([b"d"]) as other:
            assert (alive.read_bytes(), other.read_bytes()) == (b"abc", b"d")
            names = {path.name for path in tmp_path.iterdir()}
    assert names == {alive.name, other.name, "unrolled-input-new", "unrolled-input-link", "target"}
    assert not alive.exists()


def test_it_is_on_a_disk(tmp_path, monkeypatch):
    """The system's temporary directory may be in memory; but a directory that the user names is used."""
    monkeypatch.delenv("TMPDIR", raising=False)
    with spooled([b"a"]) as path:
        assert path.parent == Path("/var/tmp")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert disk_directory() is None
