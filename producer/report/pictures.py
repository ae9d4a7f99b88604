"""The map and the throughput as PNG files, drawn by matplotlib, for those who want a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.report.page.sections import title_of
from producer.report.states.colours import Groups
from producer.report.states.texts import shown_ends
from producer.terminal.text import duration, figure
from unrolled.errors import OptionError, counted, install_command

if TYPE_CHECKING:
    from producer.report.facts import Facts, Shown
    from producer.report.states.state_map import StateMap
    from producer.report.throughput import Timeline

#: Those of the page, in the light.
_INK, _SOFT, _RULE, _ACCENT = "#1d1d1b", "#5c5b57", "#e3e1db", "#1f5f8b"
_GROUPS = ("#1f6aa5", "#c8501e", "#2a8c62", "#b85c93", "#c58a10", "#4aa3cf", "#77589f", "#8b8a84")
_LOW, _HIGH = "#a9c7dd", "#0b2f4d"
_DOTS_PER_INCH = 160


def check_drawable() -> None:
    """Refuse pictures where matplotlib isn't installed.

    Raises:
        OptionError: it isn't.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - most reports draw nothing

    if find_spec("matplotlib") is None:
        raise OptionError(f"--png needs matplotlib; install it: {install_command('report')}")


def pictures(shown: Shown) -> dict[str, bytes]:
    """PNG files by the end of their names: "map" and "throughput", as far as there is something to draw."""
    found = {}
    if shown.state_map is not None and len(shown.state_map):
        found["map"] = _drawn(lambda axes: _draw_map(axes, shown.state_map), (7.2, 6.4))
    if shown.facts.time is not None:
        time = shown.facts.time
        found["throughput"] = _drawn(lambda axes: _draw_throughput(axes, time, shown.facts), (7.2, 3.0))
    return found


def _drawn(draw: Any, inches: tuple[float, float]) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415 - slow to load, and not always installed
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow to load, and not always installed
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to load, and not always installed

    with mpl.rc_context(
        {"font.size": 9, "text.color": _INK, "axes.labelcolor": _SOFT, "xtick.color": _SOFT, "ytick.color": _SOFT}
    ):
        canvas = Figure(figsize=inches, layout="constrained", facecolor="white")
        FigureCanvasAgg(canvas)
        axes = canvas.subplots()
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        draw(axes)
        file = io.BytesIO()
        canvas.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()


def _draw_map(axes: Any, found: StateMap) -> None:
    shade = found.colours[0]
    x, y = found.coordinates.T
    size = float(np.clip(4000 / (len(found) + 40), 1.5, 22))
    style = {"s": size, "linewidths": 0, "alpha": 0.8}
    if isinstance(shade, Groups):
        for number, (name, count) in enumerate(zip(shade.names, shade.counts, strict=True)):
            of = shade.of == number
            colour = _GROUPS[min(number, len(_GROUPS) - 1)]
            axes.scatter(x[of], y[of], color=colour, label=f"{_plain(name)} ({count:,})", **style)
        axes.legend(frameon=False, fontsize=8, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
    else:
        from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize  # noqa: PLC0415 - slow to load, and not always installed

        scale = LinearSegmentedColormap.from_list("length", [_LOW, _HIGH])
        known = np.isfinite(shade.values)
        real = shade.values[known]
        norm = (LogNorm if shade.logarithmic else Normalize)(real.min(), real.max()) if len(real) else None
        axes.scatter(x[~known], y[~known], color=_GROUPS[-1], **style)
        dots = axes.scatter(x[known], y[known], c=real, cmap=scale, norm=norm, **style)
        without = "" if known.all() else f"; grey: none ({np.count_nonzero(~known):,})"
        bar = axes.figure.colorbar(dots, ax=axes, shrink=0.5, aspect=30, label=_plain(shade.title) + without)
        bar.outline.set_visible(False)
    kind = "token" if found.of_tokens else "row"
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.figure.supxlabel(_wrapped(found.note), fontsize=9, color=_SOFT)  # as wide as the picture, not the axes
    axes.set_title(f"{counted(len(found), kind)} by {found.title} of {found.column}", loc="left", fontweight="bold")


def _draw_throughput(axes: Any, time: Timeline, facts: Facts) -> None:
    starts = time.width * np.arange(len(time.rates))
    unit, name = next(
        (each for each in ((3600, "hours"), (60, "minutes")) if time.seconds > 3 * each[0]), (1, "seconds")
    )
    axes.bar(starts / unit, time.rates, width=0.94 * time.width / unit, align="edge", color=_ACCENT)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set(xlabel=f"{name} of work", ylim=(0, None), xlim=(0, time.seconds / unit))
    axes.yaxis.set_major_formatter(lambda value, _: figure(value))
    axes.set_title(
        f"Tokens a second: {figure(facts.tokens_published)} of {_plain(title_of(facts))} in {duration(time.seconds)}",
        loc="left", fontweight="bold",
    )  # fmt: skip


def _plain(text: str) -> str:
    """A text that matplotlib takes as it is: a dollar sign would begin a formula."""
    return shown_ends(text, 60).replace("$", r"\$")


def _wrapped(text: str) -> str:
    from textwrap import fill  # noqa: PLC0415 - only few pictures have text

    return fill(text, 100)
