"""The kernel is compiled when something has changed, and then only."""

import os
import shutil

import pytest
from support import skips

from worker.engines.fused import build

pytestmark = skips.unless(
    "CXX" in os.environ or any(map(shutil.which, build.COMPILERS)), "no C++ compiler, without which nothing is built"
)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A kernel of one line, which is compiled in no time."""
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "one.cpp").write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setattr(build, "SOURCES", sources)
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "_kernel.so")
    monkeypatch.setattr(build, "RECORD", tmp_path / "_kernel.made")
    return sources


def test_an_unchanged_kernel_is_not_compiled_again(small, monkeypatch):
    """It is where a source, an option of the compiler or the library itself is another."""
    assert [build.build_kernel(), build.build_kernel()] == [True, False]
    (small / "two.h").write_text("int two();\n")
    assert [build.build_kernel(), build.build_kernel()] == [True, False]
    monkeypatch.setenv("CXXFLAGS", "-DNEW")
    assert [build.build_kernel(), build.build_kernel()] == [True, False]
    whole = build.LIBRARY.read_bytes()
    build.LIBRARY.write_bytes(whole[:-1])
    assert build.build_kernel()
    build.LIBRARY.unlink()
    assert build.build_kernel()
    build.RECORD.unlink()
    assert build.build_kernel()
    assert build.LIBRARY.read_bytes() == whole


def test_a_broken_build_leaves_no_record(small):
    """So the next installation tries again."""
    (small / "one.cpp").write_text("this is no C++\n")
    with pytest.raises(build.CannotBuildError):
        build.build_kernel()
    assert not build.RECORD.exists()
