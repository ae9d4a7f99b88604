"""A character language model from its file to one vector for each word, by commands alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.shell import ENGINE, unrolled

from unrolled import open as open_dataset

MODELS = Path(__file__).parents[1] / "character_models"
EXPECTED = np.load(MODELS / "expected.npz")
ROWS = ["The cat sat .", "x", "naïve café 👍 ok", "an unknown ☃ and ☃☃☃ ß", "a " * 40 + "long row " * 20 + "ends"]


@pytest.mark.parametrize("names", [("flair_backward",), ("stanza_cells", "stanza_backward")])
def test_text_becomes_one_vector_for_each_word(names, tmp_path):
    """The vectors are those of the model's own package, of a pair those of both; a row of blanks has none."""
    for name in names:
        shutil.copy(MODELS / f"{name}.pt", tmp_path / "lm.pt")
        done = unrolled("model", "import", "lm.pt", name if len(names) > 1 else "model", "--no-parity", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    if len(names) > 1:
        assert unrolled("model", "join", *names, "model", cwd=tmp_path).returncode == 0
    texts = [*ROWS, "  ", "  ".join(ROWS[0].split(" "))]
    lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    command = ("run", "rows.jsonl", "--model", "model", "--out", "out", "--engine", ENGINE, "--with-tokens")
    done = unrolled(*command, "--positions", "word-ends", "--shard-tokens", 100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out: complete" in done.stdout
    dataset = open_dataset(tmp_path / "out")
    assert dataset.positions == "word-ends"
    for number, text in enumerate(ROWS):
        row = dataset[str(number)]
        assert (len(row.outputs), row.length) == (len(text.split()), len(text) + 2)
        expected = np.hstack([EXPECTED[f"{name}.{number}"] for name in names])
        np.testing.assert_allclose(row.outputs, expected, rtol=0, atol=1e-5)
    assert len(dataset[str(len(ROWS))].outputs) == 0
    assert len(dataset[str(len(ROWS) + 1)].outputs) == 4
    assert unrolled("verify", "out", cwd=tmp_path).returncode == 0
    done = unrolled(*command, "--positions", "every:2", "--shard-tokens", 100, cwd=tmp_path)
    assert done.returncode == 1
    assert "holds a job with other options (positions" in done.stderr
