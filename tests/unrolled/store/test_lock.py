"""Locks on files: one holder at a time, until it ends."""

import subprocess
import sys
import time

import pytest

from unrolled.store.lock import lock_file

HOLDER = """
import sys
from pathlib import Path
from unrolled.store.lock import lock_file
held = lock_file(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_one_holder_at_a_time(tmp_path):
    """Within a process too; closing the file gives the lock back."""
    with lock_file(tmp_path / "lock"), pytest.raises(BlockingIOError):
        lock_file(tmp_path / "lock")
    lock_file(tmp_path / "lock").close()


def test_it_waits_as_long_as_asked(tmp_path, holder):
    """Not at all, for a while, or until the holder gives the lock back."""
    began = time.monotonic()
    with pytest.raises(BlockingIOError):
        lock_file(tmp_path / "lock", wait_seconds=0.3)
    assert time.monotonic() - began >= 0.3
    holder.stdin.close()
    lock_file(tmp_path / "lock", wait_seconds=60).close()


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    """The system takes the lock back."""
    holder.kill()
    lock_file(tmp_path / "lock", wait_seconds=60).close()


def test_a_process_that_inherits_the_file_holds_the_lock(tmp_path):
    """Until it ends, even if the first holder has closed the file."""
    with lock_file(tmp_path / "lock") as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    with pytest.raises(BlockingIOError):
        lock_file(tmp_path / "lock")
    child.communicate(b"\n")
    lock_file(tmp_path / "lock").close()


def test_only_its_owner_may_open_a_private_one(tmp_path):
    """The mode is that of a new file."""
    with lock_file(tmp_path / "lock", mode=0o600):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_the_lock_has_no_standard_streams_number(tmp_path):
    """Where one was closed, a process that inherits both would have the stream in the place of the lock."""
    code = HOLDER.replace("sys.stdin.read()", "print(held.fileno() > 2)").replace(
        "import sys\n", "import os, sys\nos.close(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], capture_output=True, text=True, check=True)
    assert done.stdout == "locked\nTrue\n"
