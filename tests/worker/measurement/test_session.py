"""A measurement of an engine."""

import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.model_configs import STACKED

from unrolled.errors import ModelError
from unrolled.format.output_spec import OutputSpec
from unrolled.job.payload import Payload, encode, strings
from unrolled.model.directory import save_model
from unrolled.model.padding import Padding
from unrolled.model.weights import new_weights
from unrolled.settings.measurement import MeasurementRequest
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused.library import why_unavailable
from worker.measurement import __main__ as command
from worker.measurement.session import Session

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), STACKED, new_weights(STACKED, 1)).path


def rows_of(lengths):
    rng = np.random.default_rng(1)
    return Ragged.from_lengths(rng.integers(1, 100, sum(lengths), dtype=np.int32), lengths)


def request_for(model, pools, *, lengths=None, stored=None, seconds=0.05):
    options = {"engine": "fused", "arithmetic": "float32", "threads": 1}
    return MeasurementRequest(
        str(model), options, stored or OutputSpec().to_options(), seconds, tuple(pools), lengths or {}
    )


def test_a_pool_of_rows_is_computed_to_its_end(model):
    """A small pool is measured whole."""
    found = Session(request_for(model, [50]), rows_of([10] * 50)).measure()
    (pool,) = found["pools"]
    assert (pool["tokens"], pool["measured_tokens"], pool["level_cut"]) == (500, 500, False)
    assert pool["seconds"] > 0
    assert 0 < pool["computed_share"] <= 1


def test_long_rows_are_measured_by_their_beginnings(model):
    """Seconds are those of the whole rows, of which the first tokens are there."""
    lengths = {30: 5_000_000}
    found = Session(request_for(model, [30, 1], lengths=lengths), rows_of([10] * 30 + [20_000])).measure()
    ordinary, long = found["pools"]
    assert (ordinary["tokens"], long["tokens"], long["level_cut"]) == (300, 5_000_000, True)
    # Each token of the long row takes its time, as nothing advances with it. If the seconds were those of the measured
    # tokens alone, they would be less than a thousandth of that.
    assert long["seconds"] / long["tokens"] > 0.05 * ordinary["seconds"] / ordinary["tokens"]


def test_padded_rows_are_measured_whole(tmp_path):
    """Each takes the steps of a padded row, and a longer row is none that is computed."""
    config = replace(STACKED, max_length=8, padding=Padding(8, "before"))
    path = save_model(tmp_path, config, new_weights(config, 1)).path
    found = Session(request_for(path, [40, 1], lengths={40: 9_000}), rows_of([3] * 40 + [500])).measure()
    ordinary, long = found["pools"]
    assert (ordinary["tokens"], long["tokens"]) == (120, 8)
    assert not ordinary["level_cut"]
    assert not long["level_cut"]
    assert ordinary["computed_share"] > 1  # padding is computed, too


@pytest.mark.parametrize("pooling", [("none",), ("mean",), ("none", "last")])
def test_the_encoding_of_a_part_is_measured(model, pooling):
    """For any choice of what is stored."""
    stored = OutputSpec(None, pooling, "float16").to_options()
    found = Session(request_for(model, [40], stored=stored), rows_of([5] * 40)).measure()
    assert found["encode_seconds"] > 0
    assert found["encoded_bytes"] > 40 * 8 * 2
    assert found["loaded_bytes"] > 2**20
    assert found["engine_bytes"] >= 0


def run(monkeypatch, capsys, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    status = command.main()
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_process_answers_in_lines(monkeypatch, capsys, model):
    """First that it is ready, then what it measured."""
    rows = rows_of([10] * 20)
    content = encode(Payload(strings([""] * 20), rows, request_for(model, [20]).to_facts()))
    status, lines = run(monkeypatch, capsys, content)
    assert status == 0
    assert [line["event"] for line in lines] == ["ready", "measured"]
    assert "fused engine" in lines[0]["description"]


def test_what_is_in_the_way_is_said(monkeypatch, capsys, tmp_path):
    """A model that isn't there, and a request that is none."""
    request = request_for(tmp_path / "none", [1])
    with pytest.raises(ModelError):
        Session(request, rows_of([1]))
    content = encode(Payload(strings([""]), rows_of([1]), request.to_facts()))
    status, (line,) = run(monkeypatch, capsys, content)
    assert (status, line["event"]) == (1, "failed")
    assert "does not exist" in line["text"]
    for wrong in (b"", encode(Payload(strings([""]), rows_of([1]), {"model": "x"}))):
        status, (line,) = run(monkeypatch, capsys, wrong)
        assert (status, line["event"]) == (1, "failed")
