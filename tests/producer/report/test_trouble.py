"""Quarantine by reason."""

from producer.jobs.quarantine_lists import BadRowListed
from producer.report.trouble import MOST_REASONS, SAMPLES, Reasons


def bad(reason, number=0):
    return BadRowListed("f", number, None, None, f"id {number}", reason)


def test_numbers_and_quotes_make_no_other_reason():
    """A million rows that are bad in one way are one line, which says of them only what holds for them all."""
    reasons = Reasons()
    for number in range(1000):
        reasons.add(bad(f"token id -{number} is negative in 'file {number}'", number))
        reasons.add(bad("not UTF-8"))
        reasons.add(
            bad(f"outputs has the number {number * 1000.5 if number % 2 else number * 1e20:g}; it ends at 65504")
        )
        reasons.add(bad(f"duplicate id; a.txt row {number % 7} has it; allowed: 1"))
    reasons.add(bad("something else"))
    assert [(reason.text, reason.rows) for reason in reasons.by_rows()] == [
        ("duplicate id; a.txt row … has it; allowed: 1", 1000),
        ("not UTF-8", 1000),
        ("outputs has the number …; it ends at 65504", 1000),
        ("token id … is negative in …", 1000),
        ("something else", 1),
    ]
    taken = Reasons()
    for reason in reasons.by_rows():
        taken.take(reason)
    taken.add(bad("token id -5 is negative in 'file 5'"))
    assert taken.by_rows()[0].text == "token id … is negative in …"
    assert taken.by_rows()[0].rows == 1001
    assert all(len(reason.samples) <= SAMPLES for reason in reasons.by_rows())


def test_reasons_without_end_cost_bounded_memory():
    """Whatever an input gives as reasons."""
    reasons = Reasons()
    for number in range(MOST_REASONS + 500):
        reasons.add(bad("".join(chr(97 + int(digit)) for digit in str(number))))
    assert len(reasons.by_rows()) == MOST_REASONS
    assert reasons.others == 500
