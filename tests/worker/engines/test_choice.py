"""Which engine a worker takes, and what it says where that can't be."""

import logging
import re

import numpy as np
import pytest
from support.shell import make_model

from unrolled.errors import BrokenWorkerError, UnrolledError
from unrolled.format.output_spec import OutputSpec
from unrolled.job.offer import Offer
from unrolled.tokenization.ragged import Ragged
from worker.engines import choice
from worker.engines.choice import choose_and_measure, choose_engine, offer_of
from worker.engines.fused import library
from worker.settings import Settings

BUILT = pytest.mark.skipif(bool(library.why_unavailable()), reason=str(library.why_unavailable()))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def no_kernel(monkeypatch):
    """An installation whose kernel wasn't built."""
    monkeypatch.setattr(choice, "why_unavailable", lambda: "the kernel is missing: build it")


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A machine on which Linux lists a GPU."""
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    monkeypatch.setattr(choice, "GPUS", tmp_path / "gpus")


def settings(model, **changes):
    return Settings(broker="redis://localhost", model=model.path, **changes)


def chosen(model, **changes):
    return choose_engine(settings(model, **changes), model)


@BUILT
def test_the_fused_engine_serves_where_there_is_no_gpu(model, monkeypatch, tmp_path):
    """At either arithmetic, with the threads that were asked for."""
    monkeypatch.setattr(choice, "GPUS", tmp_path / "none")
    assert (chosen(model).name, chosen(model).arithmetic) == ("fused", "float32")
    half = chosen(model, arithmetic="bfloat16", threads=1)
    assert (half.name, half.arithmetic) == ("fused", "bfloat16")
    assert "1 thread" in half.description


@pytest.mark.usefixtures("gpu")
def test_tensorflow_serves_on_a_gpu(model):
    """Unless another engine, or what it alone can do, is asked for."""
    assert chosen(model).name == "tensorflow"


@BUILT
@pytest.mark.usefixtures("gpu")
def test_a_wish_goes_before_the_gpu(model):
    """By engine, or by an arithmetic that TensorFlow's engine hasn't."""
    assert chosen(model, engine="fused").name == "fused"
    assert chosen(model, arithmetic="bfloat16").name == "fused"


@BUILT
def test_a_driver_without_a_gpu_is_none(model, monkeypatch, tmp_path):
    """The directory exists, and is empty."""
    monkeypatch.setattr(choice, "GPUS", tmp_path)
    assert chosen(model).name == "fused"


@pytest.mark.usefixtures("no_kernel")
def test_tensorflow_serves_where_the_kernel_is_missing(model, caplog):
    """With a warning that says what is missing, once; for a wish there is no substitute."""
    choice._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert chosen(model).name == "tensorflow"
        assert chosen(model).name == "tensorflow"
    assert caplog.messages == ["using the tensorflow engine, which is slower: the kernel is missing: build it"]
    with pytest.raises(UnrolledError, match=r"^the kernel is missing: build it, or use the tensorflow engine$"):
        chosen(model, engine="fused")
    with pytest.raises(UnrolledError, match=r"^the kernel is missing: build it$"):  # TensorFlow's has float32 only
        chosen(model, arithmetic="bfloat16")


@pytest.mark.usefixtures("no_kernel", "gpu")
def test_on_a_gpu_no_kernel_is_missed(model, caplog):
    """TensorFlow serves there anyway."""
    assert chosen(model).name == "tensorflow"
    assert not caplog.messages


@pytest.mark.usefixtures("no_kernel")
def test_who_names_the_engine_is_not_warned(model, caplog):
    """It is no substitute."""
    assert chosen(model, engine="tensorflow").name == "tensorflow"
    assert not caplog.messages


def test_without_tensorflow_the_text_says_how_to_get_it(model, monkeypatch):
    """Where it is asked for; else the fused engine serves, or says what it lacks."""
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    with pytest.raises(UnrolledError, match=r"needs TensorFlow: pip install .*\[tensorflow\]"):
        chosen(model, engine="tensorflow")
    monkeypatch.setattr(choice, "why_unavailable", lambda: "the kernel is missing: build it")
    with pytest.raises(UnrolledError, match=r"the kernel is missing: build it; the tensorflow engine needs TensorFlow"):
        chosen(model)


@BUILT
def test_three_products_need_matrix_units_or_consent(model, monkeypatch):
    """Without tiles bfloat16x3 is slower than float32, so a worker computes in it only if it is told to."""
    monkeypatch.setenv("UNROLLED_ISA", "portable")
    with pytest.raises(BrokenWorkerError, match=r"bfloat16x3 needs matrix units .* here: .+; .* or give --emulate"):
        chosen(model, arithmetic="bfloat16x3")
    engine = chosen(model, arithmetic="bfloat16x3", emulate=True)
    assert (engine.name, engine.arithmetic, engine.isa) == ("fused", "bfloat16x3", "portable")
    monkeypatch.setattr(choice, "kernel_isa", lambda *_: "amx")
    assert chosen(model, arithmetic="bfloat16x3").arithmetic == "bfloat16x3"


@BUILT
def test_a_workers_engine_is_measured(model, caplog):
    """The log says how fast it is now."""
    with caplog.at_level(logging.INFO):
        engine = choose_and_measure(settings(model, engine="fused", threads=1), model)
    [line] = caplog.messages
    assert re.fullmatch(rf"two layers of 256 units: \d+ GFLOP/s in float32 by {engine.isa} now", line)


@BUILT
@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"engine": "fused"},
        {"engine": "tensorflow"},
        {"arithmetic": "bfloat16"},
        {"arithmetic": "bfloat16x3", "emulate": True},
    ],
    ids=str,
)
def test_a_worker_offers_what_its_engine_is(model, monkeypatch, tmp_path, wish, has_gpu):
    """The offer names the queue before the engine is made: were they to differ, jobs would be computed otherwise."""
    (tmp_path / "gpus").mkdir()
    if has_gpu:
        (tmp_path / "gpus" / "0000:01:00.0").mkdir()
    monkeypatch.setattr(choice, "GPUS", tmp_path / "gpus")
    offer = offer_of(settings(model, **wish), model)
    made = chosen(model, **wish)
    assert offer == Offer(model.fingerprint, made.name, made.arithmetic)


@pytest.mark.usefixtures("no_kernel")
def test_a_worker_without_a_kernel_offers_tensorflow(model):
    """As it will compute."""
    assert offer_of(settings(model), model) == Offer(model.fingerprint, "tensorflow", "float32")


@pytest.mark.parametrize("engine", [pytest.param("fused", marks=BUILT), "tensorflow"])
def test_each_engine_computes_the_model(model, engine):
    """Whichever it is, all outputs are written."""
    columns = OutputSpec(pooling=("none", "mean")).columns(model.config)
    outputs = [np.full((rows, model.config.output_dim), np.nan, np.float32) for rows in (3, 1)]
    chosen(model, engine=engine).compute([Ragged(np.ones(3, np.int32), np.array([0, 3]))], [outputs], columns)
    assert np.isfinite(np.concatenate(outputs)).all()
