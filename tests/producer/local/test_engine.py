"""The engine of `unrolled run` where none is named."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.shell import make_model, write_rows

from producer.cli.root import cli
from producer.local import engine

REPOSITORY = Path(__file__).parents[3]
CODE = (
    "from producer.local.engine import local_engine; import sys; print(local_engine(), 'worker.engines' in sys.modules)"
)


def asked(path):
    """The answer of a fresh process with this directory before the repository in its path."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": f"{path}:{REPOSITORY}", "PATH": ""},
        cwd=path,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(("kernel", "name"), [(True, "fused"), (False, "tensorflow")])
def test_it_is_fused_where_the_kernel_was_built(tmp_path, kernel, name):
    """Only looked for: nothing of the worker is imported."""
    package = tmp_path / "worker" / "engines" / "fused"
    package.mkdir(parents=True)
    (tmp_path / "worker" / "__init__.py").touch()
    if kernel:
        (package / "_kernel.so").touch()
    assert asked(tmp_path) == [name, "False"]


@pytest.mark.parametrize(
    ("name", "here", "said"),
    [
        ("fused", ["tensorflow"], "--engine fused: .*, or use --engine tensorflow"),
        ("tensorflow", ["fused"], "--engine tensorflow: .*, or use --engine fused"),
        *(
            (name, [], "no engine is installed here. The fused engine: .* compiler.*, or pip install")
            for name in (None, "fused")
        ),
    ],
)
def test_an_engine_that_is_not_here_is_refused_at_once(tmp_path, monkeypatch, name, here, said):
    """The job isn't begun, so that it may have the other engine; one that isn't here either isn't advised."""
    monkeypatch.setattr(engine, "_KERNEL", Path("__init__.py" if "fused" in here else "missing"))
    found = engine.find_spec
    monkeypatch.setattr(
        engine, "find_spec", lambda name: ("tensorflow" in here or None) if name == "tensorflow" else found(name)
    )
    (tmp_path / "rows.txt").write_text("a\n")
    words = ["run", f"{tmp_path}/rows.txt", "--model", f"{tmp_path}/model", "--out", f"{tmp_path}/out"]
    result = CliRunner().invoke(cli, [*words, *(["--engine", name] if name else [])])
    assert result.exit_code == 2
    assert re.search(said, " ".join(result.output.split()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--arithmetic", "bfloat16"], "--arithmetic bfloat16: only the fused engine has it, and its kernel"),
        (["--engine", "fused", "--arithmetic", "bfloat16"], "or use --engine tensorflow --arithmetic float32"),
    ],
)
def test_without_a_kernel_an_arithmetic_is_refused_by_its_name(tmp_path, monkeypatch, options, said):
    """Who names no engine is not told that two options exclude each other."""
    monkeypatch.setattr(engine, "_KERNEL", Path("missing"))
    (tmp_path / "rows.txt").write_text("a\n")
    words = ["run", f"{tmp_path}/rows.txt", "--model", f"{tmp_path}/model", "--out", f"{tmp_path}/out"]
    result = CliRunner().invoke(cli, [*words, *options])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_it_is_said_that_tensorflow_computes_for_lack_of_the_kernel(tmp_path):
    """Once a job has begun, unless the user has chosen the engine; as each line of a log, in JSON."""
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").touch()  # it has no kernel, and ends at once
    make_model(tmp_path / "model")
    write_rows(tmp_path / "in.jsonl", {"a": [1, 2]})

    def said(out, *options):
        done = subprocess.run(
            [sys.executable, "-m", "producer", "run", "in.jsonl", "--model", "model", "--out", out, *options],
            env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode
        return done.stderr.splitlines()

    why = "TensorFlow computes, because the fused engine is not here: its kernel was not built"
    assert said("one")[0] == f"{why}; install a C++ compiler, and install unrolled again"
    kept = tmp_path / "worker" / "engines" / "fused" / "_kernel.txt"  # the installation's reason
    kept.parent.mkdir(parents=True)
    kept.write_text("c++ failed\n")
    assert json.loads(said("two", "--log-format", "json")[0])["message"] == f"{why}: c++ failed"
    assert not any("TensorFlow computes" in line for line in said("three", "--engine", "tensorflow"))
    (tmp_path / "in.jsonl").unlink()
    assert not any("TensorFlow computes" in line for line in said("four"))
