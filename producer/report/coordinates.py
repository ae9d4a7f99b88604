"""The points of a map as a Parquet file, which Apple's embedding-atlas and every other reader of Parquet opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.store.publish import publish

if TYPE_CHECKING:
    from pathlib import Path

    from producer.report.states.state_map import StateMap


def coordinates_table(found: StateMap) -> pa.Table:
    """The points, one row each.

    Columns: `id`; `x` and `y` (float64, as the method gave them); `length`; `file`, null if it isn't known; `text`, if
    there are texts; `position` of a token in its row; `label`, if a label column was named, as the table of the
    user has it and null for a row without one; and `neighbors`, with the numbers of the nearest rows of this table and
    their distances (1 - cosine).
    """
    distances = np.maximum(1.0 - found.cosines.astype(np.float64), 0.0)  # of equal ones, float32 rounds below
    columns = {
        "id": pa.array(found.ids, pa.string()),
        "x": pa.array(found.coordinates[:, 0]),
        "y": pa.array(found.coordinates[:, 1]),
        "length": pa.array(found.lengths, pa.int32()),
        "file": pa.array([file or None for file in found.files], pa.string()),
    }
    if found.texts is not None:
        columns["text"] = pa.array(found.texts, pa.string())
    if found.of_tokens:
        columns["position"] = pa.array(found.positions, pa.int32())
    if found.labels is not None:
        columns["label"] = found.labels
    columns["neighbors"] = pa.StructArray.from_arrays(
        [pa.array(found.neighbours.astype(np.int64).tolist()), pa.array(distances.tolist())], ["ids", "distances"]
    )
    return pa.table(columns)


def write_coordinates(found: StateMap, path: Path) -> None:
    """Write the points into a Parquet file, whole or not at all.

    Raises:
        TransientError: it can't be written.
    """
    table = coordinates_table(found)
    publish(path.parent, path.name, lambda file: pq.write_table(table, file, compression="zstd"))
