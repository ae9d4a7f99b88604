"""The chart of benchmarks/engines's results, as an SVG that reads on light and dark pages.

python benchmarks/engines/chart.py benchmarks/results/engines.tsv docs/engines.svg
"""

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from results import OURS, Figure, best_peer, groups, ratios, read

WIDTH, MARGIN, GAP = 840, 4, 16
LABEL, RATE, RATIO = 46, 48, 56  # widths of a line's three texts
TOP, HEAD, ROW, FOOT = 70, 28, 27, 36
WIDE = 100  # an embedding from here on is told in a note
TIMES = "\N{MULTIPLICATION SIGN}"
TEXTS = {"prose": "prose", "code": "lines of code", "logs": "lines of logs"}
# Contestants by the beginning of their names; the better of a library's ways is drawn.
PEERS = {"PyTorch": "circle", "OpenVINO": "square", "ONNX Runtime": "triangle", "padded RNN": "diamond"}
STYLE = """
text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px } .muted { fill: #656d76 } .small { font-size: 11px }
.grid { stroke: #d8dee4 } .one { stroke: #818b98 } .row { stroke: #eaeef2; stroke-width: 6; stroke-linecap: round }
.ours { fill: #0969da } .ratio { fill: #0969da; font-weight: 600 }
.peer { stroke: #ffffff; stroke-width: 0.8 }
.PyTorch { fill: #cf5f2b } .OpenVINO { fill: #7f56c4 } .ONNX { fill: #24838f } .padded { fill: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .muted { fill: #9198a1 }
.grid { stroke: #30363d } .one { stroke: #848d97 } .row { stroke: #21262d }
.ours, .ratio { fill: #58a6ff } .peer { stroke: #0d1117 }
.PyTorch { fill: #f0883e } .OpenVINO { fill: #bc8cff } .ONNX { fill: #56c2cf } .padded { fill: #8b949e }
}
"""


class Panel:
    """One text and one arithmetic: a line for each model, other libraries' marks and ours.

    Args:
        left: of the panel, its labels included.
        top: of its title.
        width: with labels and rates.
        longest: the largest ratio that must fit.
    """

    def __init__(self, left: float, top: float, width: float, longest: float) -> None:
        self._left, self._top, self._width, self._longest = left, top, width, longest

    def x(self, ratio: float) -> float:
        """Where a ratio lies, in the drawing's units."""
        return self._left + LABEL + ratio / self._longest * (self._width - LABEL - RATE)

    def draw(self, title: str, lines: Sequence[list[Figure]], arithmetic: str) -> list[str]:
        """Lines of SVG.

        Args:
            title: of the panel.
            lines: the groups, in order.
            arithmetic: whose figures are drawn.
        """
        bottom = self._top + HEAD + len(lines) * ROW
        parts = [f'<text class="title" x="{self.x(0):.1f}" y="{self._top + 11}">{title}</text>']
        rates_end = self._left + self._width
        parts.append(
            f'<text class="muted small" x="{rates_end:.1f}" y="{self._top + 11}" text-anchor="end">tokens/s</text>'
        )
        step = 0.5 if self._longest < 2 else 1
        for k in range(math.floor(self._longest / step) + 1):
            tick = k * step
            x, kind = self.x(tick), "one" if tick == 1 else "grid"
            parts.append(f'<path class="{kind}" d="M{x:.1f} {self._top + HEAD - 6}V{bottom}"/>')
            label = f"{tick:g}{TIMES}" if tick else "0"
            parts.append(f'<text class="muted small" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>')
        for k, figures in enumerate(lines):
            parts += self._line(self._top + HEAD + (k + 0.5) * ROW, figures, arithmetic)
        return parts

    def _line(self, y: float, figures: list[Figure], arithmetic: str) -> list[str]:
        some = [figure for figure in figures if (figure.arithmetic, figure.unit) == (arithmetic, "tokens/s")]
        ours, best = next(figure for figure in some if figure.contestant == OURS), best_peer(some, arithmetic)
        assert best is not None  # `chart` has seen to it
        ratio = statistics.median(ratios(ours, best))
        end, right = self.x(0) - 8, self._left + self._width
        wide = "†" if ours.embedding >= WIDE else ""
        parts = [
            f'<text x="{end:.1f}" y="{y + 4:.1f}" text-anchor="end">{ours.units:,}{wide}</text>',
            f'<path class="row" d="M{self.x(0):.1f} {y:.1f}H{self.x(self._longest):.1f}"/>',
        ]
        for name, shape in PEERS.items():
            found = [statistics.median(ratios(f, best)) for f in some if f.contestant.startswith(name)]
            if found:
                parts.append(mark(shape, name, self.x(max(found)), y))
        x = self.x(ratio)
        side = self.x(max(ratio, 1)) + 10  # where other libraries have no marks
        parts.append(f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="6.5"/>')
        parts.append(f'<text class="ratio" x="{side:.1f}" y="{y + 4:.1f}">{ratio:.2f}{TIMES}</text>')
        parts.append(
            f'<text class="muted small" x="{right:.1f}" y="{y + 4:.1f}" text-anchor="end">{short(ours.rate)}</text>'
        )
        return parts


def mark(shape: str, name: str, x: float, y: float) -> str:
    """A library's mark."""
    r = 4.5
    paths = {
        "square": f"M{x - r + 0.5:.1f} {y - r + 0.5:.1f}h{2 * r - 1}v{2 * r - 1}h{1 - 2 * r}z",
        "triangle": f"M{x:.1f} {y - r - 0.5:.1f}l{r + 0.5} {2 * r}h{-2 * r - 1}z",
        "diamond": f"M{x:.1f} {y - r - 0.5:.1f}l{r + 0.5} {r + 0.5}l{-r - 0.5} {r + 0.5}l{-r - 0.5} {-r - 0.5}z",
        "circle": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
    }
    return f'<path class="peer {name.split(maxsplit=1)[0]}" d="{paths[shape]}"/>'


def short(rate: float) -> str:
    """`1.5M`, `310k`."""
    return f"{rate / 1e6:.1f}M" if rate >= 999_500 else f"{rate / 1e3:.0f}k"


def legend() -> list[str]:
    """Marks and names, in one line."""
    parts, x = (
        ['<circle class="ours" cx="12" cy="42" r="6.5"/><text x="24" y="46">Unrolled, fused engine</text>'],
        180.0,
    )
    for name, shape in PEERS.items():
        label = {"padded RNN": "padded Keras RNN"}.get(name, name)
        parts.append(mark(shape, name, x, 42) + f'<text x="{x + 10}" y="46">{label}</text>')
        x += 40 + 7 * len(label)
    return parts


def chart(figures: Iterable[Figure], threads: int) -> str:
    """The whole picture of the groups with so many threads."""
    chosen = [figure for figure in figures if figure.threads == threads]
    by_panel: dict[tuple[str, str], list[list[Figure]]] = {}
    for found in groups(sorted(chosen, key=lambda f: (f.units, f.embedding))).values():
        for arithmetic in ("float32", "bfloat16"):
            here = {f.contestant for f in found if f.arithmetic == arithmetic}
            if OURS in here and best_peer(found, arithmetic):
                by_panel.setdefault((arithmetic, found[0].text), []).append(found)
    if not by_panel:
        raise SystemExit(f"no group with {threads} threads has the fused engine and another library; run engines.py")
    texts = [text for text in TEXTS if any(text == there for _, there in by_panel)]
    width = (WIDTH - 2 * MARGIN - GAP * (len(texts) - 1)) / len(texts)
    top, parts = float(TOP), legend()
    for arithmetic in ("float32", "bfloat16"):
        panels = [(text, by_panel.get((arithmetic, text), [])) for text in texts]
        tallest = max(len(lines) for _, lines in panels)
        if not tallest:
            continue
        # Room for the largest ratio's label.
        room = width - LABEL - RATE
        longest = _largest(panels, arithmetic) * room / (room - RATIO)
        for k, (text, lines) in enumerate(panels):
            panel = Panel(MARGIN + k * (width + GAP), top, width, longest)
            parts += panel.draw(f"{TEXTS[text]}, {arithmetic}", lines, arithmetic) if lines else []
        top += HEAD + tallest * ROW + FOOT
    if any(figure.embedding >= WIDE for figure in chosen):
        wide = max(figure.embedding for figure in chosen)
        parts.append(f'<text class="muted small" x="{MARGIN}" y="{top}">† with an embedding of {wide}</text>')
        top += 10
    heading = f"LSTM of two layers: speed by units, over the quickest other library's (1{TIMES})"
    machine = f"{chosen[0].machine}, {threads} threads"
    size = f'viewBox="0 0 {WIDTH} {top:.0f}" width="{WIDTH}" height="{top:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{heading}">',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="{MARGIN}" y="16">{heading}</text>',
            f'<text class="muted small" x="{WIDTH - MARGIN}" y="16" text-anchor="end">{machine}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _largest(panels: Sequence[tuple[str, list[list[Figure]]]], arithmetic: str) -> float:
    """The largest ratio of a arithmetic, and at least 1."""
    found = [1.0]
    for figures in (group for _, lines in panels for group in lines):
        best = best_peer(figures, arithmetic)
        ours = (f for f in figures if f.arithmetic == arithmetic and f.contestant == OURS)
        found += [statistics.median(ratios(f, best)) for f in ours if best]
    return max(found)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--threads", type=int, help="of the groups drawn; the most that there are")
    options = parser.parse_args()
    figures = read(options.results)
    if not figures:
        parser.error(f"{options.results} has no figures; run engines.py --results {options.results}")
    options.svg.write_text(chart(figures, options.threads or max(f.threads for f in figures)))


if __name__ == "__main__":
    main()
