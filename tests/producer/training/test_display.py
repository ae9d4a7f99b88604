"""How far a training is: a bar and lines on a terminal, lines elsewhere."""

import io

import pytest
from rich.console import Console

from producer.terminal import progress as module
from producer.terminal.progress import Progress
from producer.training.display import FitDisplay, curve, perplexity_text

BEGIN = {
    "parameters": 1_290_000, "device": "CPU", "unigram_perplexity": 630.75, "epoch": 2, "resumed": True,
    "epochs": [{"epoch": 1, "train_perplexity": 400.0, "validation_perplexity": 300.0}],
}  # fmt: skip
EPOCH = {"epoch": 2, "train_perplexity": 181.1, "validation_perplexity": 189.66, "best": True, "seconds": 8.4}
STEP = {"epoch": 3, "done": 120_000, "total": 240_000, "perplexity": 1234.5}
LINES = [
    "1.29M parameters, with the softmax, on CPU; held-out perplexity of word frequencies alone: 630.8",
    "epoch  1 of 4: perplexity 400.0 in training, 300.0 held out   done before",
    "resuming in epoch 2",
    "epoch  2 of 4: perplexity 181.1 in training, 189.7 held out (best)   8 s",
]


def test_lines_without_a_terminal(capsys, monkeypatch):
    """The facts, the epochs, and now and then the progress are lines."""
    monkeypatch.setattr(module, "PLAIN_EVERY_SECONDS", 0.0)
    progress = Progress("starting TensorFlow", transient=True)
    display = FitDisplay(4, progress)
    display.show("begin", BEGIN)
    display.show("epoch", EPOCH)
    display.show("step", STEP)
    display.show("done", {"fingerprint": "…"})
    progress.finish()
    shown = capsys.readouterr()
    assert shown.out == ""
    last = "epoch 3 of 4: 120k of 240k tokens (50 %), perplexity 1,234"
    assert shown.err.splitlines() == [*LINES, last]


def test_a_bar_on_a_terminal():
    """The lines are above the bar, which is gone at the end."""
    screen = io.StringIO()
    progress = Progress(
        "starting TensorFlow", transient=True, console=Console(file=screen, force_terminal=True, width=120)
    )
    display = FitDisplay(4, progress)
    display.show("begin", BEGIN)
    display.show("epoch", EPOCH)
    display.show("step", STEP)
    progress.finish()
    text = screen.getvalue()
    for line in LINES:
        assert line in text
    assert "120k of 240k tokens (50 %), perplexity 1,234" in text
    assert text.rstrip().endswith("\x1b[2K")


def test_the_time_of_all_epochs(capsys, monkeypatch):
    """It is estimated from the steps so far, once they have taken a while."""
    monkeypatch.setattr(module, "PLAIN_EVERY_SECONDS", 0.0)
    now = [0.0]
    progress = Progress("starting TensorFlow", transient=True)
    display = FitDisplay(4, progress, lambda: now[0])
    for seconds, epoch, done in ((0, 1, 0), (1, 1, 1000), (10, 1, 10_000), (500, 3, 40_000), (900, 4, 40_000)):
        now[0] = seconds
        display.show("step", STEP | {"epoch": epoch, "done": done})
    lines = capsys.readouterr().err.splitlines()
    assert ["left in all" in line for line in lines] == [False, False, True, True, False]  # the epoch's is all there is
    assert lines[2].endswith(", about 15 min 50 s left in all")
    assert lines[3].endswith(", about 7 min 03 s left in all")


def test_the_time_of_all_epochs_is_that_of_a_slower_machine(capsys, monkeypatch):
    """It is never below what is left of this epoch, which is estimated from the last moments."""
    monkeypatch.setattr(module, "PLAIN_EVERY_SECONDS", 0.0)
    now = [0.0]
    progress = Progress("starting TensorFlow", transient=True, clock=lambda: now[0])
    display = FitDisplay(2, progress, lambda: now[0])
    steps = [*((second, 1000 * second) for second in range(60)), (659, 60_000), (660, 61_000)]  # one takes 10 minutes
    for seconds, done in steps:
        now[0] = seconds
        display.show("step", STEP | {"epoch": 1, "done": done, "total": 200_000})
    slow = capsys.readouterr().err.splitlines()[-2]
    assert "2 tokens/s, 23 h 20 min left in this epoch" in slow
    assert slow.endswith(", about 2 d 8 h left in all")


@pytest.mark.parametrize(
    ("values", "bars"),
    [([300.0], "▁"), ([300.0, 300.0], "▁▁"), ([1000.0, 200.0, 10.0], "█▆▁"), ([1e300, 1.0], "█▁")],
)
def test_a_curve_is_a_row_of_bars(values, bars):
    """From the highest to the lowest, on a logarithmic scale."""
    assert curve(values) == bars


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.5"), (630.75, "630.8"), (1204.4, "1,204"), (1e300, "1e+300")])
def test_perplexities_are_short(value, text):
    """A perplexity has about three digits."""
    assert perplexity_text(value) == text
