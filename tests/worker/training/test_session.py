"""Epochs, early stopping, and resuming a training."""

import numpy as np
import pytest
from support.languages import WORDS, sentences
from support.token_stores import stored
from tensorflow.python.framework import config as tensorflow_config

from unrolled.errors import JobError, OptionError, RequestError
from unrolled.training.plan import DIVERGED_FILE, FitOptions, FitPlan, RowCount
from worker.training.checkpoint import CHECKPOINT_FILE, load_state, save_state
from worker.training.network import Network
from worker.training.progress import Progress
from worker.training.session import Session, StoppedError
from worker.training.unigrams import unigram_logits

OPTIONS = {"lstm_units": 8, "lstm_layers": 1, "embedding_dim": 8, "batch_tokens": 256, "max_length": 8, "epochs": 3}


@pytest.fixture
def session(tmp_path):
    """A function that makes a session in a directory; the rows are those of the small language."""
    rows = [[word + 1 for word in words] for words in sentences(300)]
    tensorflow_config.enable_op_determinism()
    yield sessions_of(tmp_path, rows[30:], rows[:30])
    tensorflow_config.disable_op_determinism()


def sessions_of(tmp_path, train, held_out):
    """A function that makes a session of these rows in a directory."""
    sides = {"train": train, "held out": held_out}
    for name in sides:
        (tmp_path / name).mkdir()
    stores = [stored(tmp_path / name, side, WORDS) for name, side in sides.items()]
    counts = [RowCount(len(side), sum(map(len, side))) for side in sides.values()]

    def make(name, report=lambda *_, **__: None, stopped=lambda: False, **options):
        (tmp_path / name).mkdir(exist_ok=True)
        plan = FitPlan(FitOptions(WORDS, **OPTIONS | options), {}, {}, *counts)
        network = Network(plan.options, unigram_logits(stores[0], WORDS))
        return Session(plan, tmp_path / name, *stores, network, report, stopped)

    return make


def test_a_training_that_is_stopped_anywhere_ends_with_the_same_bytes(session):
    """Stopped many times, within epochs and between them."""
    undisturbed = session("undisturbed").run()
    starts = 0
    while True:
        starts += 1
        asked = iter(range(100))
        try:
            disturbed = session("disturbed", stopped=lambda asked=asked: next(asked) == 11)
            progress = disturbed.run()
        except StoppedError:
            continue
        break
    assert starts > 2
    assert progress == undisturbed
    best = [session(name).best_path(progress.best_epoch).read_bytes() for name in ("undisturbed", "disturbed")]
    assert best[0] == best[1]


def test_it_ends_when_nothing_gets_better(session):
    """It ends after `patience` epochs; only the best weights stay."""
    events = []
    made = session("a", lambda event, **facts: events.append((event, facts)), learning_rate=0.7, epochs=30, patience=2)
    progress = made.run()
    assert progress.epoch == progress.best_epoch + 2 < 30
    kept = [path.name for path in made.best_path(1).parent.glob("best-*")]
    assert kept == [f"best-{progress.best_epoch}.safetensors"]
    assert [facts["best"] for event, facts in events if event == "epoch"][-2:] == [False, False]


def test_a_loss_that_is_no_number_ends_it(session, tmp_path):
    """The error says what to change; a file says so to the next command, until a training runs there again."""
    with pytest.raises(RequestError, match=r"in epoch 1 the loss became nan; .* a lower --learning-rate than 1e\+38"):
        session("a", learning_rate=1e38).run()
    assert (tmp_path / "a" / DIVERGED_FILE).exists()
    session("a", learning_rate=1e38)
    assert not (tmp_path / "a" / DIVERGED_FILE).exists()


def test_a_perplexity_far_above_that_of_guessing_ends_it(session):
    """The loss is finite, but nothing was learned: no model is made of it."""
    with pytest.raises(
        RequestError,
        match=r"diverged: in epoch 1 the perplexity of the held-out rows became .*--learning-rate than 1000",
    ):
        session("a", learning_rate=1000.0).run()


def test_rows_that_are_learnt_by_heart_are_no_divergence(tmp_path):
    """Held-out rows that are unlike them surprise the model; the epoch that was best for these counts."""
    row = [1 + number % (WORDS - 1) for number in range(9)]
    progress = sessions_of(tmp_path, [row] * 400, [row[::-1]] * 20)("a", learning_rate=0.1, epochs=6).run()
    assert progress.epochs[-1]["train_perplexity"] < 2
    assert progress.epochs[-1]["validation_perplexity"] > 10 * WORDS
    assert progress.best_epoch == 1


def test_a_perplexity_that_is_no_number_ends_it(session):
    """The only step of the only epoch had a loss; the weights after it are no numbers."""
    with pytest.raises(
        RequestError, match=r"in epoch 1 the perplexity of the held-out rows became nan; .*--learning-rate than 1e\+39"
    ):
        session("a", learning_rate=1e39, epochs=1, batch_tokens=10**6, max_length=64).run()


def test_the_smallest_keep_probability(session):
    """Dropout is computed; a smaller one, of which TensorFlow makes 0, is refused before anything is read."""
    assert session("a", keep_probability=0.01, epochs=1).run().epoch == 1
    with pytest.raises(OptionError, match=r"--keep-probability is 1e-30; allowed: 0.01 to 1"):
        FitOptions(WORDS, keep_probability=1e-30)


def test_a_checkpoint_comes_back(tmp_path):
    """Tensors of all types and other values are read as they were saved; a damaged file is refused."""
    path = tmp_path / CHECKPOINT_FILE
    assert load_state(path) is None
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, np.int64)}
    save_state(path, tensors, {"epoch": 3})
    found, progress = load_state(path)
    assert progress == {"epoch": 3}
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(JobError, match="is not a whole checkpoint"):
        load_state(path)
    path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    with pytest.raises(
        JobError, match="its numbers were changed since it was written; remove it, and the training starts"
    ):
        load_state(path)


@pytest.mark.parametrize("content", [None, b"cut"])
def test_the_best_weights_are_looked_at_before_more_epochs(session, tmp_path, content):
    """Without them all that would be in vain; a new training alone brings them back."""
    at = session("a", epochs=2).run().best_epoch
    best = tmp_path / "a" / f"best-{at}.safetensors"
    best.unlink()
    if content:
        best.write_bytes(content)
    with pytest.raises(JobError, match=r"(are missing|is not a whole checkpoint \(.*\)); remove .*/a and fit again"):
        session("a", epochs=9)


def test_a_checkpoint_of_another_version_is_refused(session, tmp_path):
    """The error says what to do."""
    (tmp_path / "a").mkdir()
    save_state(tmp_path / "a" / CHECKPOINT_FILE, {"other": np.zeros(3)}, {"epoch": 1})
    with pytest.raises(JobError, match=r"is of another version of unrolled or Keras .* starts from the beginning"):
        session("a")


@pytest.mark.parametrize(
    ("epoch", "best", "ended"), [(0, 0, False), (1, 0, False), (2, 0, True), (4, 3, False), (9, 8, True)]
)
def test_when_it_ends(epoch, best, ended):
    """It ends after the last epoch, or two epochs after the best."""
    assert Progress(epoch=epoch, best_epoch=best).ended(9, 2) == ended
