"""The turns that contestants take, and how calm the machine was around each."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Seconds between two turns, so that threads that are waiting for work in a loop go to sleep.
PAUSE = 0.05


def timed(turn: Callable[[int], int], number: int) -> float:
    """The real tokens per second of one turn."""
    began = time.perf_counter()
    tokens = turn(number)
    return tokens / (time.perf_counter() - began)


class Turns(NamedTuple):
    """The turns of one contestant.

    Attributes:
        rates: real tokens per second of each.
        calm: how fast the machine was around each: the lower of the gauge's readings before and after it, as a share of
            the comparison's best reading. Empty without a gauge.
    """

    rates: tuple[float, ...]
    calm: tuple[float, ...]


def take_turns(
    contestants: Sequence[Callable[[int], int]], repeats: int, gauge: Callable[[], float] | None
) -> list[Turns]:
    """The turns of each contestant, without the first one, which touches the memory.

    Args:
        contestants: a turn of each: given its number, it returns how many real tokens it computed.
        repeats: how many turns are counted.
        gauge: reads how fast the machine is at the moment, so that one can tell turns in which others slowed it down.
    """
    rates: list[float] = []
    readings: list[float] = []
    for number in range(repeats + 1):
        for contestant in contestants:
            time.sleep(PAUSE)
            readings.append(gauge() if gauge else 0.0)
            rates.append(timed(contestant, number))
    time.sleep(PAUSE)
    readings.append(gauge() if gauge else 0.0)
    best = max(readings)
    calm = [min(pair) / best for pair in itertools.pairwise(readings)] if gauge else []
    count = len(contestants)
    return [Turns(tuple(rates[k + count :: count]), tuple(calm[k + count :: count])) for k in range(count)]
