"""A plan beside the fact."""

import json

import pytest

from producer.plan.beside import Beside, beside, read_plan
from unrolled.errors import RequestError

PLAN = {
    "format_version": 1,
    "model": "ab",
    "rows": {"rows": {"value": 100, "error": 5}, "tokens": {"value": 900, "error": None}},
    "choices": [
        {"chosen": False, "size": {"value": 1, "error": 0}},
        {"chosen": True, "size": {"value": 4000, "error": 100}},
    ],
    "times": None,
}


def test_figures_stand_beside_their_facts():
    """Those that both know, of the choice that was asked for."""
    found = beside(PLAN, {"rows": 80, "bytes": 5000, "seconds": 3})
    assert found == [Beside("rows", 100, 5, 80), Beside("bytes", 4000, 100, 5000)]
    assert [one.off for one in found] == [0.25, -0.2]
    timed = PLAN | {"times": {"start": 2, "total": {"value": 8, "error": 1}}}
    assert beside(timed, {"seconds": 4, "tokens": 0}) == [Beside("tokens", 900, None, 0), Beside("seconds", 6, 1, 4)]
    assert beside(timed, {"tokens": 0})[0].off is None
    begun = timed | {"input": {"from_the_start": 1000}}
    assert [one.at_least for one in beside(begun, {"rows": 80, "bytes": 5000, "seconds": 3})] == [True, True, False]


def test_a_plan_is_read_again(tmp_path):
    """What `unrolled plan --json` prints."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    assert read_plan(path) == PLAN


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "3", json.dumps(PLAN | {"format_version": 2}), json.dumps(PLAN | {"choices": []})]
)
def test_other_files_are_refused(tmp_path, content):
    """Whatever they hold."""
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"plan\.json"):
        read_plan(path)
    with pytest.raises(RequestError, match="none"):
        read_plan(tmp_path / "none")
