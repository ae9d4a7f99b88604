"""Draws the results of benchmarks/engines, as an SVG without a background that is readable on light and dark pages.

    python benchmarks/engines/chart.py benchmarks/results/engines.tsv docs/engines.svg

One line is one group: a text and the number of units of both layers. Each mark is a rate divided by that of the fastest
other library in the group, the median of the turns.
"""

import argparse
import statistics
from pathlib import Path

import matplotlib as mpl
from figure import OURS, Figure, best_peer, groups, ratios
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from results import read

INK, OURS_COLOUR = "#737b84", "#2f81f7"  # as readable on white as on black
TIMES = "\N{MULTIPLICATION SIGN}"
ARITHMETICS, TEXTS = ("float32", "bfloat16"), ("prose", "code", "logs")
#: By the beginning of a contestant's name: label, marker, colour. Of a library's ways, the fastest is drawn.
PEERS = {
    "PyTorch": ("PyTorch", "o", "#db6d28"),
    "OpenVINO": ("OpenVINO", "s", "#a371f7"),
    "ONNX Runtime": ("ONNX Runtime", "^", "#2aa198"),
    "padded RNN": ("padded Keras RNN", "D", "#a08c5b"),
}


def draw(figures: list[Figure], threads: int) -> Canvas:
    """A panel for each arithmetic, with a line for each group that ran on this number of threads."""
    chosen = [figure for figure in figures if figure.threads == threads]
    found = groups(sorted(chosen, key=lambda f: (TEXTS.index(f.text), f.units, f.embedding)))
    lines = {label(some[0]): some for some in found.values()}
    canvas = Canvas(figsize=(8.4, 1.3 + 0.27 * len(lines)), layout="constrained")
    panels = canvas.subplots(1, len(ARITHMETICS), sharex=True, sharey=True)
    for panel, arithmetic in zip(panels, ARITHMETICS, strict=True):
        for y, some in enumerate(lines.values()):
            draw_line(panel, y, [f for f in some if (f.arithmetic, f.unit) == (arithmetic, "tokens/s")], arithmetic)
        panel.set_title(arithmetic, loc="left", fontweight="bold")
        panel.set_title("tokens/s", loc="right")
        panel.axvline(1, color=INK, linewidth=0.8, zorder=1)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    panels[0].set(ylim=(len(lines) - 0.5, -0.5), yticks=range(len(lines)), yticklabels=lines)
    largest = max(panel.dataLim.x1 for panel in panels)
    ticks = range(int(largest) + 1)  # and room for the numbers
    panels[0].set(xlim=(0, 1.5 * largest), xticks=ticks, xticklabels=[f"{tick}{TIMES}" for tick in ticks])
    handles, names = panels[0].get_legend_handles_labels()
    legend = dict(zip(names, handles, strict=True))
    canvas.legend(legend.values(), legend, loc="outside upper left", ncols=len(legend), frameon=False, handletextpad=0)
    about = f"rate ÷ rate of the fastest other library.  Two layers, {chosen[0].machine}, {threads} threads"
    canvas.supxlabel(about, fontsize="medium")
    return canvas


def draw_line(panel: Axes, y: int, figures: list[Figure], arithmetic: str) -> None:
    """Every contestant's mark, and the fused engine's ratio and rate."""
    if y % 2 == 0:
        panel.axhspan(y - 0.5, y + 0.5, color=INK, alpha=0.1, linewidth=0)
    ours, best = next((f for f in figures if f.contestant == OURS), None), best_peer(figures, arithmetic)
    if not ours or not best:
        return
    ratio = statistics.median(ratios(ours, best))
    panel.plot(ratio, y, "o", color=OURS_COLOUR, markersize=9, label="Unrolled, fused engine")
    for name, (shown, marker, colour) in PEERS.items():
        medians = [statistics.median(ratios(f, best)) for f in figures if f.contestant.startswith(name)]
        if medians:
            panel.plot(max(medians), y, marker, color=colour, markersize=5.5, linestyle="none", label=shown)
    beside = {"xytext": (8, 0), "textcoords": "offset points", "va": "center_baseline"}
    panel.annotate(f"{ratio:.2f}{TIMES}", (max(ratio, 1), y), color=OURS_COLOUR, fontweight="bold", **beside)
    rate = f"{ours.rate / 1e6:.1f}M" if ours.rate >= 1e6 else f"{ours.rate / 1e3:.0f}k"
    panel.text(0.99, y, rate, transform=panel.get_yaxis_transform(), ha="right", va="center_baseline")


def label(figure: Figure) -> str:
    """The name of a group's line."""
    return f"{figure.text}, {figure.units:,} units" + (
        f", embedding {figure.embedding}" if figure.embedding > 99 else ""
    )


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the figures")
    parser.add_argument("svg", type=Path, help="the chart")
    parser.add_argument("--threads", type=int, help="draw groups with this number of threads; default: the largest")
    options = parser.parse_args()
    figures = read(options.results)
    if not figures:
        parser.error(f"{options.results} has no figures; run benchmarks/engines --results {options.results}")
    colours = dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK)
    # Text stays text, and the same figures give the same file.
    sizes = {"font.size": 9, "axes.titlesize": "medium"}
    mpl.rcParams.update(colours | sizes | {"svg.fonttype": "none", "svg.hashsalt": "unrolled"})
    canvas = draw(figures, options.threads or max(f.threads for f in figures))
    canvas.savefig(options.svg, transparent=True, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
