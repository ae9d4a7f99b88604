"""The pictures of a report: all points are on them, and nothing is cut off."""

import numpy as np
import pytest

from producer.report import pictures
from producer.report.states.colours import Groups, Scale
from producer.report.states.state_map import StateMap

pytest.importorskip("matplotlib")

NOTE = (
    "The axes are the first two principal components of the vectors, and show 32.9 % of the variance (19.3 % and 13.7 "
    "%): points that are near each other here may be far apart in the other dimensions, and the map doesn't show it."
)


def state_map(colour):
    points = len(colour.of if isinstance(colour, Groups) else colour.values)
    numbers, none = np.zeros(points, np.int32), np.zeros((points, 0), np.int32)
    return StateMap(
        title="principal components",
        note=NOTE,
        column="mean",
        of_tokens=False,
        total=points,
        coordinates=np.random.default_rng(0).standard_normal((points, 2)),
        ids=[str(number) for number in range(points)],
        texts=None,
        lengths=numbers,
        positions=numbers - 1,
        files=[""] * points,
        neighbours=none,
        cosines=none.astype(np.float32),
        colours=[colour],
        labels=None,
    )


def drawn(found):
    """The axes of a map that is drawn, before its figure is dropped."""
    kept = []

    def draw(axes):
        pictures._draw_map(axes, found)
        kept.append(axes)

    assert pictures._drawn(draw, (7.2, 6.4))[:4] == b"\x89PNG"
    kept[0].figure.draw_without_rendering()  # with the figure's own dots an inch again
    return kept[0]


@pytest.mark.parametrize(
    "colour",
    [
        Groups("topic", ["a", "b" * 30, "others"], [50, 30, 20], np.repeat(np.arange(3, dtype=np.int32), [50, 30, 20])),
        Groups("topic", ["w" * 200], [100], np.zeros(100, np.int32)),
        Scale("length in tokens", np.arange(100.0), logarithmic=False),
    ],
)
def test_the_caption_is_whole(colour):
    """It is as wide as the picture, however much of it a legend takes."""
    axes = drawn(state_map(colour))
    whole = axes.figure.bbox
    (caption,) = (text for text in axes.figure.texts if "principal components" in text.get_text())
    for text in (caption, axes.title, axes._left_title):
        box = text.get_window_extent()
        assert box.x0 >= whole.x0
        assert box.x1 <= whole.x1


@pytest.mark.parametrize("known", [0, 1, 40, 100])
def test_points_without_a_number_are_drawn(known):
    """In grey, and counted beside the colours."""
    values = np.full(100, np.nan)
    values[:known] = np.arange(known)
    axes = drawn(state_map(Scale("label", values, logarithmic=False)))
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 100
    assert [len(dots.get_offsets()) for dots in axes.collections if dots.get_array() is not None] == [known]
    label = axes.figure.axes[1].get_ylabel()
    assert label == ("label" if known == 100 else f"label; grey: none ({100 - known})")
