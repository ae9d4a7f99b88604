"""`make wheel` tries every extra that there is."""

import importlib.util
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: For developers, and a larger TensorFlow.
LEFT_OUT = {"dev", "gpu"}


def trials():
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / ".ci" / "check_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TRIALS


def test_every_extra_is_tried():
    """An extra that is added later is tried too, or the test says so."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    tried = {extra for names in trials() for extra in names.split(",") if extra}
    assert tried == extras - LEFT_OUT
    assert all(commands for commands in trials().values())
