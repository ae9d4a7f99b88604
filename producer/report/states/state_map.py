"""The map of a job's states: points on a plane, with what is known about each."""

# Over 150 lines: one value of many fields, and how each is made.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producer.report.states import colours
from producer.report.states.neighbours import nearest_points
from producer.report.states.projection import project
from producer.report.states.texts import BEFORE, LONGEST_ID, around, shown
from producer.report.states.user_table import DEFAULT_TEXT, read_table
from unrolled.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from producer.report.options import ReportOptions
    from producer.report.states.components import Components
    from producer.report.states.row_files import RowFiles
    from producer.report.states.sample import Points
    from producer.report.states.texts import Words
    from producer.report.states.user_table import Looked

NEIGHBOURS = 5
#: Coordinates are stored as whole numbers up to this one.
LARGEST = 65_535
#: Stands for the input of a row, if its shard has rows of several.
UNKNOWN_FILE = "one of several files"


@dataclass(frozen=True, slots=True, eq=False)
class StateMap:
    """A map as a page shows it.

    Attributes:
        title: names the method.
        note: what people should know about the method.
        column: the column of vectors.
        of_tokens: whether a point is a token.
        total: number of rows or tokens from which the points were drawn.
        coordinates: float64 (points, 2), as the method gave them.
        ids: the whole ids of the points' rows.
        texts: shown beside them; None where there are none.
        lengths: int32 (points,), real tokens of the rows.
        positions: int32 (points,), places of the tokens in their rows, or -1.
        files: the input of each point; "" if it isn't known.
        neighbours: int32 (points, few): the numbers of the nearest others.
        cosines: float32 (points, few): theirs.
        colours: what the points can be coloured by; the first is shown at first.
        labels: the label of each point's row, as the table of the user has it; None without a label column.
        unmatched: how many points have no row in the table of the user, as a sentence; empty if all have one.
        few_matched: whether these are most of the points.
    """

    title: str
    note: str
    column: str
    of_tokens: bool
    total: int
    coordinates: NDArray[np.float64]
    ids: list[str]
    texts: list[str] | None
    lengths: NDArray[np.int32]
    positions: NDArray[np.int32]
    files: list[str]
    neighbours: NDArray[np.int32]
    cosines: NDArray[np.float32]
    colours: list[colours.Groups | colours.Scale]
    labels: pa.Array | None
    unmatched: str = ""
    few_matched: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def placed(self) -> NDArray[np.uint16]:
        """The coordinates as whole numbers (points, 2), with one scale for both axes and the middle in the middle."""
        if not len(self):
            return np.empty((0, 2), np.uint16)
        low, high = self.coordinates.min(axis=0), self.coordinates.max(axis=0)
        half = float((high - low).max()) / 2 or 1.0
        scaled = (self.coordinates - (low + high) / 2) / half
        found: NDArray[np.uint16] = np.rint((scaled + 1) / 2 * LARGEST).astype(np.uint16)
        return found


def make_map(
    points: Points,
    components: Components,
    total: int,
    column: str,
    options: ReportOptions,
    words: Words,
    row_files: RowFiles,
    table_fields: Sequence[str] = (),
) -> StateMap:
    """Place a sample of a job's vectors on a plane.

    Args:
        points: the sample.
        components: the principal components of all vectors.
        total: number of rows or tokens from which the points were drawn.
        column: the column of vectors.
        options: what is shown.
        words: shows token ids.
        row_files: finds the inputs of the points' rows.
        table_fields: the columns of `options.table` that are read (`check_table`).
    """
    # Over 40 lines: one object of many fields, each made once.
    projection = project(options.method, points.vectors, components)
    ids = points.ids.tolist()
    looked = None
    if options.table is not None:
        looked = read_table(options.table, points.ids, options.id_field, table_fields, options.label_field)
    table = looked.columns if looked else {}
    texts = _texts(points, options, words, table.get(options.text_field or DEFAULT_TEXT))
    files = [row_files.of(row_id, shard) for row_id, shard in zip(ids, points.shards, strict=True)]
    found: list[colours.Groups | colours.Scale] = []
    if options.label_field is not None:
        found.append(colours.labels(options.label_field, table[options.label_field].to_pylist()))
    if options.of_tokens:
        if points.tokens[:1].tolist() not in ([], [None]):
            pairs = zip(points.tokens, points.positions.tolist(), strict=True)
            names = [words.word(near[min(at, BEFORE)]) for near, at in pairs]
            found.append(colours.groups("token", names))
        found.append(colours.scale("position in the row", points.positions.astype(np.float64) + 1))
    found.append(colours.scale("length in tokens", points.lengths.astype(np.float64)))
    if len(set(files)) > 1:
        found.append(colours.groups("source file", [name or UNKNOWN_FILE for name in files]))
    return StateMap(
        projection.title, projection.note, column, options.of_tokens, total, projection.coordinates, ids, texts,
        points.lengths, points.positions, files, *nearest_points(points.vectors, NEIGHBOURS), found,
        table.get(options.label_field or ""), _unmatched(looked, options, ids),
        looked is not None and 2 * looked.found < looked.of,
    )  # fmt: skip


def _texts(points: Points, options: ReportOptions, words: Words, given: pa.Array | None) -> list[str] | None:
    stored = points.tokens[:1].tolist() not in ([], [None])
    if options.of_tokens and stored:
        pairs = zip(points.tokens, points.positions.tolist(), strict=True)
        return [shown(around(words, near, at)) for near, at in pairs]
    if given is not None:
        return ["" if text is None else shown(str(text)) for text in given.to_pylist()]
    if stored:
        return [shown(words.text(ids)) for ids in points.tokens]
    return None


def _unmatched(looked: Looked | None, options: ReportOptions, ids: list[str]) -> str:
    """How many points have no row in the table, as a sentence."""
    if looked is None or looked.found == looked.of:
        return ""
    found = f"{looked.found:,}" if looked.found else "none"
    said = f"{options.table} has {found} of the ids of {counted(looked.of, 'point')} on the map"
    if looked.found:
        return f"{said}; the others have no text or label from it."
    has = f"its ids are like {shown(looked.first_id, 60)!r}" if looked.first_id else "it has no id"
    return f"{said}: {has}, the job's like {shown(ids[0], 60)!r}; name the column of the job's ids with --id-field."


def short_id(row_id: str) -> str:
    """An id as a page shows it."""
    return shown(row_id, LONGEST_ID)
