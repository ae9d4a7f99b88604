"""The input that a row comes from: by its id where the product gave it one, else that of all of its shard's rows."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from unrolled.job.inputs import FEW_NAMES, LONG_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unrolled.job.inputs import Inputs
    from unrolled.job.shard_id import ShardId

_ROW_OF_FILE = re.compile(r"(.+)#\d+", re.DOTALL)  # as `automatic_id` makes them; a user's id may look the same


class RowFiles:
    """Finds the inputs of rows.

    Args:
        inputs: those of the job.
        first: the inputs of the first rows of the shards.
        of_shards: the input that all rows of a shard come from, or "" if it isn't known.
    """

    def __init__(self, inputs: Inputs, first: Iterable[str], of_shards: Mapping[ShardId, str]) -> None:
        whole = [name for name in inputs.first if len(name) < LONG_NAME]
        self._known = {*whole, *first}
        self._ends = {PurePath(name).suffix for name in self._known}
        self._knows_all = inputs.count <= FEW_NAMES and len(whole) == inputs.count
        self._of_shards = of_shards

    def of(self, row_id: str, shard: ShardId) -> str:
        """The input of a row of a shard; "" if it isn't known."""
        found = _ROW_OF_FILE.fullmatch(row_id)
        return found[1] if found and self._is_input(found[1]) else self._of_shards[shard]

    def _is_input(self, name: str) -> bool:
        """Whether it names an input: of many only some are known, and the others are taken to end as these do."""
        return name in self._known or (not self._knows_all and PurePath(name).suffix in self._ends)
