"""What a fresh interpreter loads, and what it doesn't: start-up time is made of imports."""

import pydoc
import subprocess
import sys

import psutil
import pytest
from support.processes import eventually
from support.shell import REPOSITORY, Crew, environment, make_model, words

import unrolled
from worker.engines.fused.library import why_unavailable

QUEUE = {"celery", "kombu", "redis", "click", "rich"}
TENSORFLOW = {"tensorflow", "keras"}


def loaded(code):
    """Top-level packages in a fresh interpreter after it ran some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env=environment(),
    )
    return set(done.stdout.split())


def test_reading_loads_no_queue():
    """`import unrolled` needs numpy and pyarrow, and nothing else that takes time."""
    found = loaded("import unrolled; unrolled.open")
    assert found >= {"numpy", "pyarrow"}
    assert not found & (QUEUE | TENSORFLOW | {"producer", "worker", "tokenizers", "safetensors", "xxhash"})


def test_help_and_completion_show_every_name():
    """They look at `dir`, which a module that loads its names late must answer itself."""
    assert dir(unrolled) == sorted(unrolled.__all__)
    text = pydoc.plain(pydoc.render_doc(unrolled))
    for name in ("class Dataset(", "class Encoder(", "open = open_dataset(", "to_padded("):
        assert name in text


def test_the_command_line_loads_no_worker():
    """Nor what any subcommand needs."""
    assert not loaded("import producer.cli.root") & (
        TENSORFLOW | {"worker", "celery", "numpy", "pyarrow", "tokenizers"}
    )


@pytest.mark.parametrize(
    "module",
    ["compute.run", "compute.enqueue", "compute.demo", "watch.status", "watch.wait", "inspect.verify", "inspect.show"],
)
def test_a_producers_command_loads_no_tensorflow(module):
    """Nor the worker; what computes is another process."""
    assert not loaded(f"import producer.cli.commands.{module}, producer.local.run") & (TENSORFLOW | {"worker"})


def test_workers_of_a_run_start_before_the_producer_loads_its_queue():
    """Celery and redis take a third of a second, in which the workers start beside them."""
    found = loaded("import producer.cli.commands.compute.run, producer.local.run")
    assert not found & {"celery", "kombu", "redis", "tokenizers", "pyarrow"}


def test_cutting_loads_no_pandas():
    """To make an array of a list pyarrow would, and it takes as long as all the rest."""
    code = "import numpy as np; from producer.sources.rows import Row; from producer.enqueue.shard import make_shard\n"
    assert "pandas" not in loaded(code + "make_shard(0, 'ab' * 8, [Row('f', 0, 'id', np.ones(3, np.int32))])")


def test_the_worker_loads_the_engine_that_it_takes():
    """Its application, its command and its choice of engines load no TensorFlow."""
    assert (
        not loaded("import worker.app, worker.cli.worker, worker.engines.choice, worker.engines.fused.engine")
        & TENSORFLOW
    )


@pytest.mark.skipif(bool(why_unavailable()), reason=str(why_unavailable()))
def test_a_worker_with_the_fused_engine_never_loads_tensorflow(tmp_path, broker):
    """As a process that is ready to work: nothing of it is mapped, and it takes little memory."""
    make_model(tmp_path / "model")
    log = tmp_path / "worker.log"
    with Crew() as crew:
        worker = crew.worker(log, broker=broker.url, model=tmp_path / "model", engine="fused")
        eventually(lambda: " ready." in log.read_text(), "a worker that is ready")
        mapped = {mapping.path for mapping in psutil.Process(worker.pid).memory_maps()}
        assert any(path.endswith("_kernel.so") for path in mapped)
        assert not [path for path in mapped if "tensorflow" in path]
        assert words("worker")[-1] in psutil.Process(worker.pid).cmdline()
