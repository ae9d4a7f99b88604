"""The options of a training, and plan.json."""

import json

import pytest

from unrolled.errors import JobError, ModelError, RequestError
from unrolled.model.files import PLAN_FILE
from unrolled.training.plan import FitOptions, FitPlan, RowCount, digest_of


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("epochs", 0, "--epochs is 0; allowed: 1 or more"),
        ("batch_tokens", -1, "--batch-tokens is -1"),
        ("seed", -1, "--seed is -1"),
        ("validation_share", 1.0, "--validation-share is 1.0; allowed: above 0, below 1"),
        ("keep_probability", 0.0, "--keep-probability is 0.0"),
        ("learning_rate", float("nan"), "--learning-rate is nan"),
        ("clip_norm", float("inf"), "--clip-norm is inf"),
    ],
)
def test_options_out_of_range(option, value, text):
    """The error says what is allowed."""
    with pytest.raises(RequestError, match=text):
        FitOptions(10, **{option: value})


def test_sizes_that_make_no_model():
    """Each size is allowed, but not all of them together."""
    with pytest.raises(ModelError, match=r"these sizes make [0-9,]+ parameters"):
        FitOptions(2**30).config()


def test_a_plan_comes_back(tmp_path):
    """A plan is read as it was written; without a file there is None."""
    plan = FitPlan(FitOptions(10), {"inputs": ["a"]}, {"rows": 3}, RowCount(2, 9), RowCount(1, 4))
    assert FitPlan.read(tmp_path) is None
    (tmp_path / PLAN_FILE).write_text(plan.to_json())
    assert FitPlan.read(tmp_path) == plan
    assert plan.train.targets == 7


def test_the_tokenizer_is_that_of_the_rows(tmp_path):
    """Another one would be put into the model that was trained without it."""
    kept = tmp_path / "tokenizer.json"
    plan = FitPlan(FitOptions(10), {}, {}, RowCount(2, 9), RowCount(1, 4), digest_of(b'{"word": 1}'))
    kept.write_bytes(b'{"word": 1}')
    assert plan.tokenizer_in(tmp_path) == '{"word": 1}'
    for content in (b"", b'{"a": 1}'):
        kept.write_bytes(content)
        with pytest.raises(JobError, match=r"json: is missing, damaged, or of another training; remove .* fit"):
            plan.tokenizer_in(tmp_path)
    kept.unlink()
    with pytest.raises(JobError, match="is missing, damaged, or of another training"):
        plan.tokenizer_in(tmp_path)
    assert FitPlan(FitOptions(10), {}, {}, RowCount(2, 9), RowCount(1, 4)).tokenizer_in(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(format_version=2),
        lambda plan: plan.update(more=1),
        lambda plan: plan.pop("train"),
        lambda plan: plan["options"].update(epochs=0),
        lambda plan: plan.update(request=[]),
    ],
)
def test_a_plan_that_is_none_is_refused(tmp_path, change):
    """The error names the file and says what to do."""
    plan = FitPlan(FitOptions(10), {}, {}, RowCount(2, 9), RowCount(1, 4))
    found = json.loads(plan.to_json())
    change(found)
    for text in (json.dumps(found), "[]", "{"):
        (tmp_path / PLAN_FILE).write_text(text)
        with pytest.raises(JobError, match=r"is not a training's plan \(.*start again"):
            FitPlan.read(tmp_path)
