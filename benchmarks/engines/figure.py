"""A figure: the rates of one contestant in one group, and ratios of two."""

import dataclasses
import statistics
from collections.abc import Iterable

OURS = "fused"
ARITHMETICS = ("float32", "bfloat16", "bfloat16x3")
#: A turn is quiet if the gauge read at least this share of its best reading before it and after it.
QUIET = 0.9
_FEWEST_QUIET = 3


@dataclasses.dataclass(frozen=True)
class Figure:
    """One contestant in one group.

    Attributes:
        machine: the processor, and the number of cores that the operating system uses.
        text, rows, tokens, units, embedding, threads: those of the group.
        arithmetic, contestant: what ran.
        detail: its batch size, or the number of its pools.
        difference: the largest difference from the exact states.
        unit: unit of the rates: "tokens/s" of real tokens, or "operations/s" for the machine's peak rates.
        rates: the rates of its turns, in order.
        calm: how fast the machine was around each turn, as a share of the fastest moment between the group's turns;
            empty in files of earlier releases, which lack it, and for peak rates.
    """

    machine: str
    text: str
    rows: int
    tokens: int
    units: int
    embedding: int
    threads: int
    arithmetic: str
    contestant: str
    detail: str
    difference: float
    unit: str
    rates: tuple[float, ...]
    calm: tuple[float, ...] = ()

    @property
    def group(self) -> tuple[object, ...]:
        """Figures with the same group can be compared."""
        return self.machine, self.text, self.units, self.embedding, self.threads

    @property
    def rate(self) -> float:
        """The median of the turns."""
        return statistics.median(self.rates)

    @property
    def quiet_rates(self) -> list[float]:
        """The rates of the turns around which the machine was at least QUIET as fast as at its fastest."""
        return [rate for rate, share in zip(self.rates, self.calm, strict=False) if share >= QUIET]


def ratios(ours: Figure, theirs: Figure) -> list[float]:
    """The ratios of two contestants' rates, turn by turn, sorted."""
    return sorted(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))


def quiet_ratio(ours: Figure, theirs: Figure) -> float | None:
    """The ratio of two contestants' medians over their quiet turns; None if one has fewer than three."""
    quiet = [figure.quiet_rates for figure in (ours, theirs)]
    if min(map(len, quiet)) < _FEWEST_QUIET:
        return None
    return statistics.median(quiet[0]) / statistics.median(quiet[1])


def best_peer(figures: Iterable[Figure], arithmetic: str) -> Figure | None:
    """The fastest other library in one group."""
    peers = [f for f in figures if f.arithmetic == arithmetic and f.unit == "tokens/s" and not is_ours(f.contestant)]
    return max(peers, key=lambda f: f.rate, default=None)


def is_ours(contestant: str) -> bool:
    """Whether a contestant is one of Unrolled's engines."""
    return contestant in (OURS, "tensorflow engine")


def groups(figures: Iterable[Figure]) -> dict[tuple[object, ...], list[Figure]]:
    """The figures of each group, in the order of the groups' first figures."""
    found: dict[tuple[object, ...], list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.group, []).append(figure)
    return found
