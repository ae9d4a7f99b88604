"""Figures of benchmarks/engines in a table of tab-separated values, from which its chart is made.

Every contestant of one group (machine, text, units, embedding, threads) ran in turn with the others, so rates may be
set against each other within a group, and nowhere else. A group that is run again replaces its earlier figures.

    python benchmarks/engines/results.py benchmarks/results/engines.tsv

prints them as a table in Markdown: for every group and arithmetic the fused engine, the quickest other library, and the
ratio's median, lowest and highest.
"""

import csv
import dataclasses
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

OURS = "fused"


@dataclasses.dataclass(frozen=True)
class Figure:
    """One contestant in one group.

    Attributes:
        machine: processor and number of cores in use by the operating system.
        text, rows, tokens, units, embedding, threads: of the group.
        arithmetic, contestant: who ran.
        detail: its batch size, or its pools.
        difference: largest from the exact states.
        unit: of the rates: real "tokens/s", or "operations/s" for what the machine can do.
        rates: of its turns, in order.
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
        """What figures must have in common to be compared."""
        return self.machine, self.text, self.units, self.embedding, self.threads

    @property
    def rate(self) -> float:
        """The median turn's."""
        return statistics.median(self.rates)


def ratios(ours: Figure, theirs: Figure) -> list[float]:
    """How many times quicker ours was, turn by turn."""
    return sorted(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))


def best_peer(figures: Iterable[Figure], arithmetic: str) -> Figure | None:
    """The quickest of other libraries' in one group."""
    peers = [f for f in figures if f.arithmetic == arithmetic and f.unit == "tokens/s" and not is_ours(f.contestant)]
    return max(peers, key=lambda f: f.rate, default=None)


def is_ours(contestant: str) -> bool:
    """Whether it is one of our engines, by its name."""
    return contestant in (OURS, "tensorflow engine")


def groups(figures: Iterable[Figure]) -> dict[tuple[object, ...], list[Figure]]:
    """Figures by their group, in the order in which groups were first met."""
    found: dict[tuple[object, ...], list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.group, []).append(figure)
    return found


def read(path: Path) -> list[Figure]:
    """The figures of a file; none where there is no file."""
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
    """Put figures into a file, in place of those of the same groups."""
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
    """Markdown: a line for each group and arithmetic."""
    lines = [
        "| text | units | embedding | threads | arithmetic | fused, tokens/s | quickest other | tokens/s | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in groups(sorted(figures, key=lambda f: (f.threads, f.text, f.embedding, f.units))).values():
        for arithmetic in ("float32", "bfloat16"):
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
