"""Quarantine by reason."""

from producer.jobs.quarantine_lists import BadRowListed
from producer.report.trouble import MOST_REASONS, SAMPLES, Reasons


def bad(reason, number=0):
    return BadRowListed("f", number, None, None, f"id {number}", reason)


def test_numbers_and_quotes_make_no_other_reason():
    """A million rows that are bad in one way are one line."""
    reasons = Reasons()
    for number in range(1000):
        reasons.add(bad(f"token id -{number} is negative in 'file {number}'", number))
        reasons.add(bad("not UTF-8"))
    reasons.add(bad("something else"))
    assert [(reason.text, reason.rows) for reason in reasons.by_rows()] == [
        ("not UTF-8", 1000),
        ("token id -0 is negative in 'file 0'", 1000),
        ("something else", 1),
    ]
    assert all(len(reason.samples) <= SAMPLES for reason in reasons.by_rows())


def test_reasons_without_end_cost_bounded_memory():
    """Whatever an input gives as reasons."""
    reasons = Reasons()
    for number in range(MOST_REASONS + 500):
        reasons.add(bad("".join(chr(97 + int(digit)) for digit in str(number))))
    assert len(reasons.by_rows()) == MOST_REASONS
    assert reasons.others == 500
