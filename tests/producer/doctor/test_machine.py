"""What `unrolled doctor` says of a machine, from files as Linux has them."""

import pytest
from support.kernels import needs_kernel

from producer.doctor.machine import check_machine, usable_cpus
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from worker.engines.cpus import usable_cpus as usable_cpus_of_the_engine
from worker.engines.fused import library
from worker.engines.fused.library import available_isas

GIB = 2**30


@pytest.fixture
def files(tmp_path):
    """A function that writes the files of a machine; the checks on it, by name."""
    proc, system = tmp_path / "proc", tmp_path / "sys"

    def look(threads=None, budget=GIB, model=None, **given):
        made = {
            "proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\n",
            "proc/cpuinfo": "processor : 0\nflags\t\t: fpu avx2 fma avx512f\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        } | given
        for name, text in made.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return {check.name: check for check in check_machine(threads, budget, model, proc, system)}

    return look


@needs_kernel
def test_a_machine_as_it_should_be_passes(files, monkeypatch):
    """Each line says what was found."""
    monkeypatch.delenv("UNROLLED_ISA", raising=False)
    found = files()
    assert {check.outcome for check in found.values()} == {"ok"}
    assert found["huge pages"].found == "madvise"
    assert found["memory"].found.startswith("16.0 GiB, by the machine; ")
    assert "avx2, fma, avx512f" in found["kernel"].found
    assert "kernel: " in found["kernel"].found


@pytest.mark.parametrize(("limit", "outcome"), [(4 * GIB, "ok"), (GIB + GIB // 2, "warn"), (GIB // 2, "fail")])
def test_a_control_group_below_the_budget_shows(files, limit, outcome):
    """The lower limit counts: a worker that needs more is killed."""
    check = files(**{"sys/fs/cgroup/memory.max": f"{limit}\n"})["memory"]
    assert (check.outcome, "its control group" in check.found) == (outcome, True)
    assert bool(check.advice) == (outcome != "ok")


def test_weights_count_as_memory(files, tmp_path):
    """They come on top of the budget."""
    config = ModelConfig.stacked(vocab_size=2**18, max_length=8, num_lstm_units=4, num_lstm_layers=1, embedding_dim=32)
    model = save_model(tmp_path / "model", config, new_weights(config, 0))
    limit = {"sys/fs/cgroup/memory.max": str(34 * 2**20)}
    assert files(budget=2**20, **limit)["memory"].outcome == "ok"
    assert files(budget=2**20, model=model, **limit)["memory"].outcome == "warn"


def test_no_kernel_is_said_in_few_words(files, monkeypatch):
    """Why there is none is said of the engine."""
    library.load.cache_clear()
    monkeypatch.setattr(library, "FILE_NAME", "missing.so")
    try:
        check = files()["kernel"]
    finally:
        library.load.cache_clear()
    assert (check.outcome, check.advice) == ("warn", "see what is said of the fused engine")
    assert check.found.endswith("; no kernel can be used")


def test_no_limit_is_no_limit(files):
    """A control group without one says max."""
    assert "by the machine" in files(**{"sys/fs/cgroup/memory.max": "max\n"})["memory"].found


def test_more_threads_than_processors_are_warned_of(files):
    """By the quota of a control group, too."""
    quota = {"sys/fs/cgroup/cpu.max": "100000 100000\n"}
    assert files(threads=1, **quota)["threads"].outcome == "ok"
    check = files(threads=2, **quota)["threads"]
    assert check.outcome == "warn"
    assert check.advice.startswith("give --threads 1 or less")


def test_processors_are_counted_as_the_engine_counts_them(tmp_path):
    """Two programs that disagree would advise against each other."""
    assert usable_cpus() == usable_cpus_of_the_engine()
    (tmp_path / "fs" / "cgroup").mkdir(parents=True)
    (tmp_path / "fs" / "cgroup" / "cpu.max").write_text("100000 100000\n")
    assert usable_cpus(tmp_path) == 1


def test_no_huge_pages_are_warned_of(files):
    """And a system that doesn't say is unknown."""
    name = "sys/kernel/mm/transparent_hugepage/enabled"
    assert files(**{name: "always madvise [never]\n"})["huge pages"].outcome == "warn"
    assert files(**{name: ""})["huge pages"].outcome == "unknown"


@needs_kernel
def test_a_forced_kernel_must_run_here(files, monkeypatch):
    """The variable is the engine's own."""
    monkeypatch.setenv("UNROLLED_ISA", "portable")
    assert files()["kernel"].outcome == "ok"
    monkeypatch.setenv("UNROLLED_ISA", "sse9")
    check = files()["kernel"]
    assert (check.outcome, check.advice) == ("fail", "unset UNROLLED_ISA")
    # A kernel for other arithmetics alone: float32 takes another one.
    without = next((isa for isa in ("amx", "avx512_bf16") if isa not in available_isas("bfloat16")), None)
    if without:
        monkeypatch.setenv("UNROLLED_ISA", without)
        check = files()["kernel"]
        assert (check.outcome, check.advice) == ("warn", "unset UNROLLED_ISA")
        assert f"asks for {without}, which it can't run; float32 takes {available_isas()[0]}" in check.found
