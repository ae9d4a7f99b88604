"""Hidden files, and what is left of them when a process dies."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from unrolled.errors import TransientError
from unrolled.store.disk.hidden_file import sweep_leftovers

WRITER_THAT_WAITS = """
import sys
from pathlib import Path
from unrolled.store.publish import publish

def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()

publish(Path(sys.argv[1]), "part", write)
"""


@pytest.fixture
def waiting_writer(tmp_path):
    """A process in the middle of publishing "part"; it finishes when its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER_THAT_WAITS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        yield process
        process.kill()


def names(directory):
    return [path.name for path in directory.iterdir()]


def test_a_live_publisher_is_left_alone(tmp_path, waiting_writer):
    """However old its file: the lock is held while the process lives, and the file arrives."""
    assert len(names(tmp_path)) == 1
    assert sweep_leftovers(tmp_path, older_than_seconds=0) == []
    waiting_writer.communicate()
    assert waiting_writer.returncode == 0
    assert (tmp_path / "part").read_bytes() == b"half"


def test_the_leftover_of_a_killed_publisher_is_swept(tmp_path, waiting_writer):
    """It goes once it is old enough; until then, and any other file, stays."""
    waiting_writer.send_signal(signal.SIGKILL)
    waiting_writer.wait()
    (tmp_path / ".hidden").write_bytes(b"theirs")
    (leftover,) = tmp_path.glob(".part.*.tmp")
    assert str(waiting_writer.pid) in leftover.name
    assert sweep_leftovers(tmp_path, older_than_seconds=3600) == []
    assert sweep_leftovers(tmp_path, older_than_seconds=0) == [leftover]
    assert names(tmp_path) == [".hidden"]


def test_sweeping_a_missing_directory_is_reported(tmp_path):
    """The text names the directory."""
    with pytest.raises(TransientError, match="gone"):
        sweep_leftovers(tmp_path / "gone", older_than_seconds=0)


def test_a_leftover_is_swept_on_a_network_file_system(tmp_path, monkeypatch):
    """There flock is a POSIX lock, which is exclusive only on a file that is open for writing."""
    leftover = tmp_path / ".part.host-1-00.tmp"
    leftover.write_bytes(b"half")
    with leftover.open("rb") as file, pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    assert sweep_leftovers(tmp_path, older_than_seconds=0) == [leftover]


def test_a_live_publisher_is_left_alone_on_a_network_file_system(tmp_path, monkeypatch):
    """Its lock is found there, too."""
    script = WRITER_THAT_WAITS.replace("import sys\n", "import sys, fcntl\nfcntl.flock = fcntl.lockf\n", 1)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
        assert sweep_leftovers(tmp_path, older_than_seconds=0) == []
        process.communicate()
    assert names(tmp_path) == ["part"]


def test_a_leftover_that_can_only_be_read_is_swept(tmp_path):
    """Another user's: this one may remove it from the directory, and on a local disk lock it."""
    leftover = tmp_path / ".part.host-1-00.tmp"
    leftover.write_bytes(b"half")
    leftover.chmod(0o444)
    assert sweep_leftovers(tmp_path, older_than_seconds=0) == [leftover]


def test_what_is_not_a_file_is_left_alone(tmp_path):
    """Opening a FIFO would wait for ever."""
    os.mkfifo(tmp_path / ".fifo.tmp")
    (tmp_path / ".directory.tmp").mkdir()
    assert sweep_leftovers(tmp_path, older_than_seconds=0) == []
    assert len(names(tmp_path)) == 2
