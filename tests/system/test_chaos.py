"""The siege in its short form: real jobs on a disk and in a bucket, disturbed at random, and compared byte for byte."""

import csv
import subprocess
import sys

import pytest
from support.shell import ENGINE, REPOSITORY, environment
from support.skips import long

#: Seeds whose rounds have all four scenes, kills, pauses, retries, a cancel, two commands at once and a full disk.
DISK, BUCKET = "3869", "936"


def chaos(folder, *arguments):
    """Run the script; a line for each round, by column. All of them must have passed."""
    done = subprocess.run(
        [sys.executable, "benchmarks/chaos", "--engine", ENGINE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env=environment() | {"TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    assert " 0 failed; " in last
    return list(csv.DictReader(lines, delimiter="\t"))


def check(table, rounds):
    """Every round passed, and its job was watched."""
    assert [line["result"] for line in table] == ["ok"] * rounds
    assert all(int(line["looks"]) > 10 and int(line["claims"]) > 0 for line in table)


def total(table, column):
    return sum(int(line[column]) for line in table)


@pytest.mark.timeout(900)
def test_no_row_is_lost_or_twice_on_a_disk_whatever_happens(tmp_path):
    """Four rounds with fixed seeds."""
    table = chaos(tmp_path, "--kind", "disk", "--rounds", "4", "--seed", DISK, "--at-once", "4")
    check(table, 4)
    assert total(table, "deaths") > 0


@pytest.mark.timeout(900)
def test_no_row_is_lost_or_twice_in_a_bucket_whatever_happens(tmp_path):
    """Two rounds with fixed seeds, on a server that is killed, refuses, and loses answers."""
    table = chaos(tmp_path, "--kind", "bucket", "--rounds", "2", "--seed", BUCKET, "--at-once", "2")
    check(table, 2)
    assert total(table, "server_kills") > 0


@pytest.mark.chaos
@pytest.mark.timeout(5 * 3600)
@long("an hour or two")
@pytest.mark.parametrize(("kind", "rounds"), [("disk", 200), ("bucket", 100)])
def test_no_row_is_lost_or_twice_long(tmp_path, kind, rounds):
    """The same, at length."""
    table = chaos(tmp_path, "--kind", kind, "--rounds", str(rounds), "--seed", "1", "--at-once", "2")
    check(table, rounds)
    assert total(table, "overtaken") > 0
