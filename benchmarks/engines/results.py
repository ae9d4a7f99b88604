"""The figures of benchmarks/engines, in a file of tab-separated values.

    python benchmarks/engines/results.py benchmarks/results/engines.tsv

prints them as a table in Markdown: for every group and arithmetic the fused engine, the fastest other library, and the
median, lowest and highest ratio, and the ratio of the medians of their quiet turns, if there are enough. All
contestants of a group (machine, text, units, embedding, threads) took turns in one run, so their rates can be compared;
rates of different groups can't. A group that is run again replaces its earlier figures.
"""

import csv
import dataclasses
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from figure import ARITHMETICS, OURS, Figure, best_peer, groups, quiet_ratio, ratios


def read(path: Path) -> list[Figure]:
    """The figures in a file; none if there is no file."""
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in dataclasses.fields(Figure)}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        Figure(**{n: _KINDS[kind](row.get(n, "")) for n, kind in kinds.items()})  # type: ignore[arg-type, index]
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
            *facts, rates, calm = dataclasses.astuple(figure)
            several = (" ".join(f"{rate:.0f}" for rate in rates), " ".join(f"{share:.2f}" for share in calm))
            writer.writerow([*facts, *several])


_KINDS = {
    str: str,
    int: int,
    float: float,
    tuple[float, ...]: lambda text: tuple(map(float, text.split())),
}


def table(figures: Iterable[Figure]) -> str:
    """A table in Markdown, with a line for each group and arithmetic."""
    lines = [
        "| text | units | embedding | threads | arithmetic | fused, tokens/s | best other | tokens/s | ratio | quiet |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in groups(sorted(figures, key=lambda f: (f.threads, f.text, f.embedding, f.units))).values():
        for arithmetic in ARITHMETICS:
            ours = next((f for f in found if (f.contestant, f.arithmetic) == (OURS, arithmetic)), None)
            best = best_peer(found, arithmetic)
            if ours and best:
                turns, quiet = ratios(ours, best), quiet_ratio(ours, best)
                lines.append(
                    f"| {ours.text} | {ours.units} | {ours.embedding} | {ours.threads} | {arithmetic} | "
                    f"{ours.rate:,.0f} | {best.contestant}, {best.detail} | {best.rate:,.0f} | "
                    f"{statistics.median(turns):.2f} ({turns[0]:.2f}-{turns[-1]:.2f}) | "
                    f"{'' if quiet is None else f'{quiet:.2f}'} |"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(table(read(Path(sys.argv[1]))))
