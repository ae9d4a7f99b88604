"""How many steps rows share, against the engine that shares them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.model_configs import model_configs

from producer.plan.sharing import computed_share
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import new_weights
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused.engine import FusedEngine
from worker.engines.fused.library import why_unavailable


def rows_of(*texts):
    return [np.array([ord(char) - 96 for char in text], np.int32) for text in texts]


def test_rows_that_begin_alike_share_steps():
    """Of "abc" and "abd", four of six steps are computed; of a model that reads backward, all."""
    rows = rows_of("abc", "abd")
    assert computed_share(rows, [LayerConfig(4)]) == pytest.approx(4 / 6)
    assert computed_share(rows, [LayerConfig(4, direction="backward")]) == 1
    assert computed_share(rows_of("xyc", "abc"), [LayerConfig(4, direction="backward")]) == pytest.approx(5 / 6)


def test_equal_rows_are_computed_once():
    """In every layer."""
    assert computed_share(rows_of("abc", "abc"), [LayerConfig(4, direction="bidirectional")] * 2) == 0.5


def test_what_depends_on_the_whole_row_is_not_shared():
    """Above a layer of both directions, rows that begin alike have other inputs."""
    rows = rows_of("abc", "abd")
    both = LayerConfig(4, direction="bidirectional")
    assert computed_share(rows, [both]) == pytest.approx((4 + 6) / 2 / 6)
    assert computed_share(rows, [both, both]) == pytest.approx((4 + 6 + 6 + 6) / 4 / 6)
    assert computed_share(rows, [LayerConfig(4), both]) == pytest.approx((4 + 6 + 6) / 3 / 6)
    assert computed_share(rows, [LayerConfig(4), LayerConfig(4)]) == pytest.approx(4 / 6)


def test_nothing_is_shared_by_nothing():
    """No row, and rows without tokens."""
    assert computed_share([], [LayerConfig(4)]) == computed_share(rows_of(""), [LayerConfig(4)]) == 1


@pytest.mark.skipif(why_unavailable() is not None, reason="the kernel isn't built here")
@settings(max_examples=25, deadline=None)
@given(model_configs(largest_vocabulary=4), st.data())
def test_the_engine_computes_the_same_share(tmp_path_factory, config, data):
    """For models of any kind, whatever is stored of them."""
    row = st.lists(st.integers(1, config.vocab_size), max_size=6).map(lambda ids: np.array(ids, np.int32))
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    layer = data.draw(st.integers(0, len(config.layers) - 1))
    model = save_model(tmp_path_factory.mktemp("model"), config, new_weights(config, 1))
    columns = OutputSpec((layer,)).columns(config)
    shard = Ragged.from_lengths(np.concatenate([np.zeros(0, np.int32), *rows]), [one.size for one in rows])
    outputs = [np.zeros((shard.values.size, columns[0].width), np.float32)]
    stats = FusedEngine(model, threads=1).compute([shard], [outputs], columns)
    if stats.tokens:
        # The engine rounds the mean over layers down to whole steps.
        share = computed_share(rows, config.layers[: layer + 1])
        assert stats.computed == int(share * stats.tokens + 1e-6)


def test_the_order_of_rows_does_not_matter():
    """Nor does the sign of a byte of a large id."""
    rows = [np.array(ids, np.int32) for ids in ([70_000, 1], [255, 1], [70_000, 2], [128, 1])]
    config = ModelConfig.stacked(100_000, 8, 4, 1)
    assert computed_share(rows, config.layers) == computed_share(rows[::-1], config.layers) == pytest.approx(7 / 8)
