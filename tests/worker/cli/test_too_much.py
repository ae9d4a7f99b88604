"""A worker that is given more than the machine has."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from unrolled.errors import ModelError
from worker.cli.too_much import too_much
from worker.cli.worker import worker
from worker.settings import Settings

SETTINGS = Settings(broker="redis://h", model=Path("/m"))
MACHINE = {"cpus": 4, "memory": (2**30, "its control group")}


def test_each_option_has_one_line():
    """What the machine has is enough, and more than that is named with what there is."""
    assert list(too_much(replace(SETTINGS, threads=4, memory_budget=2**30), **MACHINE)) == []
    threads, memory = too_much(replace(SETTINGS, threads=5, memory_budget=2**40), **MACHINE)
    assert threads.startswith("--threads 5: 4 processors can be used; ")
    assert memory.startswith("--memory-budget 1T: there are 1.0 GiB, by its control group; ")


@pytest.fixture
def logging_restored():
    """A worker's start sets up logging for its process, which is that of all tests here."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.usefixtures("logging_restored")
def test_a_worker_says_it_at_its_start(tmp_path, capfd):
    """Before anything else can go wrong."""
    words = ["--broker", "redis://h", "--model", str(tmp_path / "none"), "--threads", "1024"]
    with pytest.raises(ModelError):
        worker.main([*words, "--memory-budget", "4000000T"], standalone_mode=False)
    text = capfd.readouterr().err
    assert (text.count("--threads 1024: "), text.count("--memory-budget 4000000T: ")) == (1, 1)
