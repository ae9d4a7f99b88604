"""The figures of benchmarks/engines, in a file of tab-separated values.

    python benchmarks/engines/results.py benchmarks/results/engines.tsv

prints them as a table in Markdown: for every group and arithmetic the fused engine, the fastest other library, and the
median, lowest and highest ratio. All contestants of a group (machine, text, units, embedding, threads) took turns in
one run, so their rates can be compared; rates of different groups can't. A group that is run again replaces its earlier
figures.
"""

import csv
import dataclasses
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

OURS = "fused"
ARITHMETICS = ("float32", "bfloat16", "bfloat16x3")


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

    @property
    def group(self) -> tuple[object, ...]:
        """Figures with the same group can be compared."""
        return self.machine, self.text, self.units, self.embedding, self.threads

    @property
    def rate(self) -> float:
        """The median of the turns."""
        return statistics.median(self.rates)


def ratios(ours: Figure, theirs: Figure) -> list[float]:
    """The ratios of two contestants' rates, turn by turn, sorted."""
    return sorted(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))


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


def read(path: Path) -> list[Figure]:
    """The figures in a file; none if there is no file."""
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in dataclasses.fields(Figure)}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        Figure(**{name: _KINDS[kind](row[name]) for name, kind in kinds.items()})  # type: ignore[arg-type, index]
        for row in rows
    ]


def merge(path: Path, new: Sequence[Figure]) -> None:
    """Write figures to a file, where they replace those of the same groups."""
    fresh = {figure.group for figure in new}
    kept = [figure for figure in read(path) if figure.group not in fresh]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([field.name for field in dataclasses.fields(Figure)])
        for figure in sorted([*kept, *new], key=lambda f: tuple(map(str, f.group))):
            *facts, rates = dataclasses.astuple(figure)
            writer.writerow([*facts, " ".join(f"{rate:.0f}" for rate in rates)])


_KINDS = {
    str: str,
    int: int,
    float: float,
    tuple[float, ...]: lambda text: tuple(map(float, text.split())),
}


def table(figures: Iterable[Figure]) -> str:
    """A table in Markdown, with a line for each group and arithmetic."""
    lines = [
        "| text | units | embedding | threads | arithmetic | fused, tokens/s | fastest other | tokens/s | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in groups(sorted(figures, key=lambda f: (f.threads, f.text, f.embedding, f.units))).values():
        for arithmetic in ARITHMETICS:
            ours = next((f for f in found if (f.contestant, f.arithmetic) == (OURS, arithmetic)), None)
            best = best_peer(found, arithmetic)
            if ours and best:
                turns = ratios(ours, best)
                lines.append(
                    f"| {ours.text} | {ours.units} | {ours.embedding} | {ours.threads} | {arithmetic} | "
                    f"{ours.rate:,.0f} | {best.contestant}, {best.detail} | {best.rate:,.0f} | "
                    f"{statistics.median(turns):.2f} ({turns[0]:.2f}-{turns[-1]:.2f}) |"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(table(read(Path(sys.argv[1]))))
