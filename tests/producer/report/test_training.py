"""The training of a job's model on its page."""

import json

import pytest

from producer.report.page.training_section import training_section
from producer.report.training import MOST_EPOCHS, Training, read_training
from unrolled.training.plan import RECORD_FILE

EPOCHS = [
    {"epoch": 1, "train_perplexity": 400.0, "validation_perplexity": 300.5},
    {"epoch": 2, "train_perplexity": 210.0, "validation_perplexity": 187.2},
    {"epoch": 3, "train_perplexity": 150.0, "validation_perplexity": 190.0},
]
RECORD = {"fingerprint": "f", "epochs": EPOCHS, "best_epoch": 2, "unigram_perplexity": 630.75}


def test_the_held_out_perplexities_are_drawn(tmp_path):
    """A bar for each epoch, the best of them named; a model that wasn't trained here has no section."""
    (tmp_path / RECORD_FILE).write_text(json.dumps(RECORD))
    found = read_training(tmp_path, "f")
    assert found == Training((400.0, 210.0, 150.0), (300.5, 187.2, 190.0), 2, 630.75)
    page = training_section(found)
    assert page.count('<rect class="bar"') == 3
    assert "epoch 3: perplexity 190.0 held out, 150.0 in training" in page
    assert "The model has the weights of epoch 2. " in page
    assert "after each of 3 epochs: 300.5 after the first, 187.2 at best." in page
    assert training_section(None) == ""
    assert read_training(tmp_path / "nowhere", "f") is None


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "another"}, {"epochs": []}, {"epochs": 3}, {"epochs": [{}]}, {"epochs": EPOCHS * MOST_EPOCHS},
        {"epochs": [EPOCHS[0] | {"train_perplexity": float("nan")}]}, {"best_epoch": 4}, {"best_epoch": "x"},
        {"best_epoch": float("inf")},
        {"epochs": [EPOCHS[0] | {"validation_perplexity": -1}]}, {"unigram_perplexity": "<b>"},
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_left_out(tmp_path, change):
    """Anybody may have written it, and a page without it is as true."""
    (tmp_path / RECORD_FILE).write_text(json.dumps(RECORD | change))
    assert read_training(tmp_path, "f") is None
