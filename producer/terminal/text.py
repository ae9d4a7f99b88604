"""Numbers and times for people."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SCALES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_EXACT_BELOW = 10_000


def figure(number: float) -> str:
    """A number to three digits: 9,999, 12.3k, 4.56M."""
    if round(number) < _EXACT_BELOW:
        return f"{round(number):,}"
    # Rounded first, so that 999,999 becomes 1.00M, not 1000k.
    number = float(f"{number:.2e}")
    scale, letter = next(pair for pair in _SCALES if number >= pair[0])
    scaled = number / scale
    return f"{scaled:.{max(0, 3 - len(str(int(scaled))))}f}{letter}"


def figure_of(number: float, things: str) -> str:
    """A number in three digits, and what it counts in the right form.

    Args:
        number: the number.
        things: the word after it, with an s that is left out after 1.
    """
    return f"{figure(number)} {things.removesuffix('s') if number == 1 else things}"


def duration(seconds: float) -> str:
    """A time in its two largest units: 12 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def percent(share: float) -> str:
    """A share as people read it: 4.7 %, 0.31 %, 99.69 %. Only nothing is 0 %, and only all of it is 100 %."""
    rest = min(share, 1 - share)
    if rest <= 0:
        return f"{100 * share:.0f} %"
    if rest < 1e-4:  # noqa: PLR2004 - the last digit that is shown
        return "less than 0.01 %" if share == rest else "more than 99.99 %"
    return f"{100 * share:.{1 if rest >= 0.01 else 2}f} %"  # noqa: PLR2004 - one per cent


def lines_of_unknown(share: float | None, noun: str, which: str = "") -> list[str]:
    """Lines about the words, tokens, characters or bytes of texts that a model doesn't know; none if it knows all.

    Args:
        share: the share of unknown ones; None where there are none at all, or none can be unknown.
        noun: what they are.
        which: the end of a phrase about those that were counted.
    """
    if not share:
        return []
    are = "stand for what is" if noun == "tokens" else "are"
    lines = [f"{percent(share)} of the {noun}{which} {are} not in the model's vocabulary"]
    if share > 1 / 2:
        example = " One of words finds none in sequences of letters, for example" if noun == "words" else ""
        lines.append(f"that is most of them: is the model's tokenizer made for such texts?{example}")
    return lines
