"""What `unrolled doctor` says of a file system, by trying it."""

import errno
import os
import time

from producer.doctor import disk
from producer.doctor.disk import check_disk


def look(place):
    return {check.name: check for check in check_disk(place)}


def test_a_disk_as_it_should_be_passes_and_nothing_stays(tmp_path):
    """Names are given once, and times are those of this machine."""
    found = look(tmp_path)
    assert {check.outcome for check in found.values()} == {"ok"}
    assert set(found) == {"created once", "direct writes", "file system's clock"}
    assert "isn't replaced" in found["created once"].found
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links_fails_unless_it_is_a_disk(tmp_path, monkeypatch):
    """As publishing would fail there, with the words of its error."""

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("unrolled.store.disk.name_once._is_on_block_device", lambda _: False)
    check = look(tmp_path)["created once"]
    assert check.outcome == "fail"
    assert check.advice == "use a directory on a local disk or on NFS, or a bucket"


def test_a_file_system_that_replaces_fails(tmp_path, monkeypatch):
    """It says that it has given a name twice."""

    def replace(folder, old, new):
        os.replace(old, new, src_dir_fd=folder, dst_dir_fd=folder)
        return True

    monkeypatch.setattr(disk, "name_once", replace)
    check = look(tmp_path)["created once"]
    assert (check.outcome, check.found) == ("fail", "a file that exists was replaced")


def test_a_clock_that_is_wrong_is_warned_of(tmp_path, monkeypatch):
    """This machine's, beside the file system's."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 60)
    check = look(tmp_path)["file system's clock"]
    assert check.outcome == "warn"
    assert check.found == "the file system's is 60.0 s ahead"
