"""The bytes of each choice of what is stored, given a sample."""

from pathlib import Path

import numpy as np

from producer.enqueue.submission import Submission
from producer.plan.choices import choices_of
from producer.plan.sampling.estimate import Estimate
from producer.plan.sampling.sample import SUMS, Sample
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig


def test_no_error_is_negative():
    """More rows without a vector make smaller parts, so that errors of two sums work against each other."""
    known = {"rows": Estimate(10_000, 10), "tokens": Estimate(50_000, 100), "empty": Estimate(5_000, 4_000)}
    sums = {name: Estimate(0.0) for name in SUMS} | known | {"token_ids": known["tokens"]}
    model = ModelConfig.stacked(3, 40, num_lstm_units=4, num_lstm_layers=2, embedding_dim=1)
    nothing = np.zeros(0)
    sample = Sample(
        sums,
        nothing.astype(np.int64),
        nothing,
        in_part=False,
        long_rows=[],
        reasons=[],
        unknown_share=None,
        unknown_noun="words",
        words=0,
        exact=False,
        begun_bytes=0,
        read_bytes=1.0,
        draws=2,
    )
    found = choices_of(sample, Submission((), "", Path("m")), OutputSpec(None, ("mean",), "float32"), model)
    assert min(choice.size.error for choice in found) > 0
