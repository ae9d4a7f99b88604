"""TensorFlow says nothing of itself."""

import os
import subprocess
import sys

import pytest

from worker.models.tensorflow import without_chatter


def test_tensorflow_starts_in_silence():
    """Neither its import nor its first operation writes a line, whatever the machine lacks."""
    code = "from worker.models.tensorflow import tf; tf.ones(3); print(len(tf.config.list_physical_devices('CPU')))"
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=quiet, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_what_was_written_is_shown_where_a_block_fails(capfd):
    """An import that fails may have said why."""
    with without_chatter():
        os.write(2, b"nothing of interest\n")
    with pytest.raises(ZeroDivisionError):
        fail()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the reason\nafterwards\n"


@without_chatter()
def fail():
    os.write(2, b"the reason\n")
    raise ZeroDivisionError
