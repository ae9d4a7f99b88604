"""The input of a row, by its id or by its shard."""

import pytest

from producer.report.states.row_files import RowFiles
from unrolled.job.inputs import FEW_NAMES, LONG_NAME, Inputs
from unrolled.job.shard_id import ShardId

SHARD = ShardId(0, "0" * 12, 0)
MANY = [f"corpus/{number}.txt" for number in range(FEW_NAMES + 5)]
LONG = "x" * LONG_NAME + ".txt"


@pytest.mark.parametrize(
    ("inputs", "first", "row_id", "file"),
    [
        (["issues.jsonl"], ["issues.jsonl"], "octo/cat#1", "of the shard"),
        (["a.txt", "b.txt"], ["a.txt"], "b.txt#12", "b.txt"),
        (["a.txt", "b.txt"], ["a.txt"], "c.txt#12", "of the shard"),
        (["a.txt"], ["a.txt"], "a.txt", "of the shard"),
        (["a#1", "b"], ["a#1"], "a#1#7", "a#1"),
        (["-"], ["label#2"], "label#2#7", "label#2"),
        (MANY, [], f"{MANY[-1]}#3", MANY[-1]),
        (MANY, [], "octo/cat#3", "of the shard"),
        ([LONG], [LONG], f"{LONG}#0", LONG),
        (["a.txt", LONG], ["a.txt"], f"{LONG}#0", LONG),
        (["two\nlines"], [], "two\nlines#0", "two\nlines"),
    ],
)
def test_an_id_names_its_file_only_if_that_is_an_input(inputs, first, row_id, file):
    """A user's id may end in a number sign and digits; of many inputs, not all names are known."""
    read = Inputs.from_json(Inputs.named(inputs).to_json())
    assert RowFiles(read, first, {SHARD: "of the shard"}).of(row_id, SHARD) == file
