"""What a plan asks the process that measures an engine."""

import json

import pytest

from unrolled.errors import RequestError
from unrolled.settings.measurement import MeasurementRequest

REQUEST = MeasurementRequest("model", {"engine": "fused"}, {"layers": None}, 2.0, (3, 1), {3: 70_000})


def test_a_request_comes_back_from_json():
    """Numbers of rows too, which JSON writes as text."""
    assert MeasurementRequest.from_facts(json.loads(json.dumps(REQUEST.to_facts()))) == REQUEST


@pytest.mark.parametrize("changes", [{"model": None}, {"pools": "x"}, {"lengths": [1]}, {"seconds": "long"}])
def test_other_facts_are_refused(changes):
    """Whatever is wrong with them."""
    facts = REQUEST.to_facts() | changes
    if changes == {"model": None}:
        del facts["model"]
    with pytest.raises(RequestError, match="can't be read"):
        MeasurementRequest.from_facts(facts)
