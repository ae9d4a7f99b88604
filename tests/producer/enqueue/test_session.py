"""What `enqueue` shows of its progress."""

from producer.enqueue import session
from producer.enqueue.summary import Summary
from producer.terminal.figures import ProducerFigures


class Bar:
    """Keeps what it is asked to show."""

    def __init__(self):
        self.totals = []

    def update(self, total_tokens=None, **_):
        self.totals.append(total_tokens)


def test_a_total_is_shown_when_enough_was_read():
    """Of a small input, what is read and not yet cut would be most of it: 365 rows of 6,000 were called 27 %."""
    bar = Bar()
    shown = session._Shown(bar, 941_635, ProducerFigures())
    shown.on_bytes(1 << 18)
    shown.each(Summary(rows=365, tokens=12_171))
    assert bar.totals == [None]
    shown = session._Shown(bar, 1 << 30, ProducerFigures())
    for number in range(1, 9):
        shown.on_bytes(1 << 23)
        shown.each(Summary(rows=number, tokens=number << 20))
    assert bar.totals[1:] == [None, *[128 << 20] * 7]
