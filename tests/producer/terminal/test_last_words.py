"""What a process said last of what went wrong."""

import subprocess
import sys

import pytest

from producer.terminal.last_words import last_words

ABSL = """2026-01-01 00:00:00: I core.cc:1] starting
F0000 00:00:1.2 71 env.cc:410] Check failed: -1 != path_length (-1 vs. -1)
*** Check failure stack trace: ***
    @     0x7f0000000000  (unknown)
    @           0x5883cc  (unknown)

"""


@pytest.mark.parametrize(
    ("printed", "last"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo \n\n", "two"),
        (
            f"{ABSL}*** SIGABRT received at time=1 on cpu 5 ***\n",
            "F0000 00:00:1.2 71 env.cc:410] Check failed: -1 != path_length (-1 vs. -1)",
        ),
        (f"{ABSL}*** SIGABRT received ***\nstarted again\n*** SIGSEGV received ***\n", "*** SIGSEGV received ***"),
        ("malloc(): corrupted top size\n*** SIGABRT received ***\n", "malloc(): corrupted top size"),
        ("loading\n*** stack smashing detected ***: terminated\n", "*** stack smashing detected ***: terminated"),
        ("a warning\n*** SIGSEGV received at time=1 ***\n", "*** SIGSEGV received at time=1 ***"),
        (ABSL, "F0000 00:00:1.2 71 env.cc:410] Check failed: -1 != path_length (-1 vs. -1)"),
        ("    @ 0x5883cc  (unknown)\n", "@ 0x5883cc  (unknown)"),
        ("*** SIGSEGV received at time=1 ***\nPC: @ 0x1 f()\n    @ 0x7 g()\n", "*** SIGSEGV received at time=1 ***"),
        ("reason\n  PC: @ 0x58  f()\n    @ ... and at least 5 more frames\n", "reason"),
        (
            "No module named 'x'\n\nCurrent thread 0x1 (most recent call first):\n  <no Python frame>\n",
            "No module named 'x'",
        ),
        ('Fatal Python error: Aborted\n\nThread 0x1:\n  File "a", line 1\n  ...\n', "Fatal Python error: Aborted"),
    ],
)
def test_frames_of_a_stack_are_no_reason(printed, last):
    """The line before them is, as absl writes it; where there is nothing else, the last one."""
    assert last_words(printed) == last


def test_a_fault_that_python_reports():
    """Its line comes before the frames of all threads."""
    code = "import faulthandler, os; faulthandler.enable(); os.abort()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert last_words(done.stderr) == "Fatal Python error: Aborted"
