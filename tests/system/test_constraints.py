"""The pinned releases of constraints.txt against what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LINES = (REPOSITORY / "constraints.txt").read_text().splitlines()
PINS = [Requirement(line) for line in LINES if not line.startswith("#")]
PYTHONS = ("3.11.0", "3.11.9", "3.12.4", "3.13.0")
PLATFORMS = {"linux": "x86_64", "darwin": "arm64"}
#: What an extra asks for, without this package's own extras.
NAMED = sorted(
    {
        text
        for texts in (PROJECT["dependencies"], *EXTRAS.values())
        for text in texts
        if not text.startswith("unrolled[")
    }
)


def places():
    """Every Python and platform that is supported, as markers see them."""
    for python in PYTHONS:
        for platform, machine in PLATFORMS.items():
            yield {
                "python_version": python.rpartition(".")[0],
                "python_full_version": python,
                "sys_platform": platform,
                "platform_machine": machine,
                "platform_python_implementation": "CPython",
                "implementation_name": "cpython",
                "extra": "",
            }


def pins(name, place):
    """The releases of a package that are pinned there."""
    found = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [pin.specifier for pin in found if pin.marker is None or pin.marker.evaluate(place)]


@pytest.mark.parametrize("text", NAMED)
def test_every_dependency_is_pinned_to_a_release_that_it_allows(text):
    """Of every extra, once for each Python and platform: what `make test` and the images install is what is tested."""
    wanted = Requirement(text)
    for place in places():
        if wanted.marker and not wanted.marker.evaluate(place):
            continue
        (pin,) = pins(wanted.name, place)
        (release,) = pin
        assert release.operator == "=="
        assert wanted.specifier.contains(Version(release.version)), f"{wanted} and {pin} in {place}"


def test_every_extra_is_looked_at():
    """Those that nothing else names are the ones that get lost."""
    names = {Requirement(text).name for text in NAMED}
    assert {"celery", "tokenizers", "h5py", "onnx", "onnxruntime", "tensorflow", "pyarrow"} <= names
    assert sorted(EXTRAS) == sorted(
        ["producer", "worker", "encode", "cloud", "import", "metrics", "report", "tensorflow", "tracing", "gpu", "dev"]
    )


def test_a_gpus_libraries_are_pinned():
    """`tensorflow[and-cuda]` brings them; a cuDNN of another release is another engine."""
    assert any(re.fullmatch(r"nvidia-cudnn-cu\d+", pin.name) for pin in PINS)
