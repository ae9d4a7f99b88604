"""Nothing outlives its owner."""

import signal
import subprocess
import sys
import textwrap

import psutil
from support.processes import REPOSITORY, eventually
from support.shell import gone

from producer.local.watchdog import Watchdog

SLEEP = ["sleep", "600"]
OWNER = textwrap.dedent(
    """
    import pathlib, subprocess, sys
    from producer.local.watchdog import Watchdog
    watchdog = Watchdog(1, pathlib.Path(sys.argv[1]))
    docile, stubborn = "", "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True);"
    for code in (f"{docile}import time; time.sleep(600)", f"{stubborn}import time; time.sleep(600)"):
        process = subprocess.Popen([sys.executable, "-c", code], process_group=watchdog.group, stdout=subprocess.PIPE)
        watchdog.watch(process.pid)
    process.stdout.read(1)
    print("ready", flush=True)
    sys.stdin.read()
    """
)


def test_a_killed_owner_leaves_nothing(tmp_path):
    """One process ends at once, another only by force; the folder is removed, whatever its name."""
    folder = tmp_path / 'it\'s "one" -x'
    folder.mkdir()
    (folder / "file").touch()
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as owner:
        owner.stdout.readline()
        below = psutil.Process(owner.pid).children(recursive=True)
        assert len(below) == 3
        owner.kill()
    eventually(lambda: gone(below) and not folder.exists(), f"nothing left of {below}")
    assert tmp_path.exists()


def test_its_end_is_that_of_the_group(tmp_path):
    """What the owner ends itself is gone at once, and the folder is left to it."""
    watchdog = Watchdog(1, tmp_path)
    process = subprocess.Popen(SLEEP, process_group=watchdog.group)
    watchdog.watch(process.pid)
    watchdog.end()
    assert process.wait() == -signal.SIGKILL
    assert tmp_path.exists()
