"""The fault-injection rounds, in a short form: kills, restarts, a full disk, poison, lost and repeated messages."""

import re
import subprocess
import sys

import pytest
from support.shell import ENGINE, REPOSITORY, environment
from support.skips import long


def chaos(folder, *arguments):
    """Run the script; its table."""
    done = subprocess.run(
        [sys.executable, "benchmarks/chaos", "--engine", ENGINE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env=environment() | {"TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def check(table, rounds):
    """Every round passed, its directory was watched, and all together were disturbed in earnest."""
    heading, *lines, last = table
    assert heading[:2] == ["seed", "result"]
    assert [line[1] for line in lines] == ["ok"] * rounds
    looks = heading.index("looks")
    assert min(int(line[looks]) for line in lines) > 50
    found = re.fullmatch(
        rf"# {rounds} rounds, 0 failed; [\d,]+ rows, (\d+) worker deaths, (\d+) broker kills, [\d,]+ looks .*", last[0]
    )
    assert int(found[1]) > 0
    return int(found[1]), int(found[2])


@pytest.mark.timeout(300)
def test_no_row_is_lost_or_twice_whatever_is_killed(tmp_path):
    """Six rounds with fixed seeds; every file equals, byte for byte, that of an undisturbed run."""
    deaths, broker_kills = check(chaos(tmp_path, "--rounds", "6", "--seed", "41", "--at-once", "3"), 6)
    assert broker_kills > 0
    assert deaths > 6


@pytest.mark.chaos
@pytest.mark.timeout(3 * 3600)
@long("most of an hour")
def test_no_row_is_lost_or_twice_long(tmp_path):
    """The same, 200 rounds."""
    check(chaos(tmp_path, "--rounds", "200", "--seed", "1", "--at-once", "3"), 200)
