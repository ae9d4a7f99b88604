"""A model that computes padding, from its file to the vectors of a job, by commands alone."""

import json

import numpy as np
import pytest
from support.shell import ENGINE, unrolled, write_rows

from unrolled import open as open_dataset

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from support.onnx_graph import Graph  # noqa: E402

#: Of the model's own ids, in a job and in the file; "padded" has zeros already, which are no tokens.
ROWS = {
    "one": [4],
    "padded": [0, 0, 7, 2, 9],
    "empty": [],
    "full": [9, 8, 7, 6, 5, 4, 3, 2, 1],
    "long": list(range(1, 10)) * 2,
}


def test_a_job_has_the_sources_vectors_at_tokens(tmp_path):
    """Those of the file's own graph on padded rows, also pooled; a row that is too long is in quarantine."""
    graph = Graph(shape=(1, 9))
    end = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    model = graph.model(end)
    onnx.save(model, tmp_path / "tagger.onnx")
    options = ("--pad", "9:pre", "--ids-from", "1", "--no-parity")
    done = unrolled("model", "import", "tagger.onnx", "model", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "took  rows are padded to 9 tokens with the source's id 0, before the tokens" in done.stdout

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def own(row):
        states = session.run(None, {"ids": np.array([[0] * (9 - len(row)) + row])})[0]
        return states.reshape(9, -1)[9 - len(row) :]

    write_rows(tmp_path / "rows.jsonl", ROWS)
    command = ("run", "rows.jsonl", "--model", "model", "--out", "out", "--engine", ENGINE, "--pooling", "none,mean")
    done = unrolled(*command, cwd=tmp_path)
    assert "1 row is in quarantine" in done.stdout + done.stderr
    assert "--failed-rows" not in done.stdout + done.stderr  # no retry can help
    dataset = open_dataset(tmp_path / "out")
    for name in ("one", "padded", "full"):
        row, wanted = dataset[name], own([token for token in ROWS[name] if token])
        np.testing.assert_allclose(row.outputs, wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(row["mean"], wanted.mean(axis=0), rtol=0, atol=1e-5)
    assert (dataset["padded"].length, len(dataset["empty"].outputs)) == (3, 0)
    listed = unrolled("quarantine", "out", "--json", cwd=tmp_path)
    (bad,) = map(json.loads, listed.stdout.splitlines())
    assert (bad["file"], bad["position"], bad["id"]) == ("rows.jsonl", 4, "long")
    assert bad["reason"].startswith("the row has 18 tokens, and the model reads at most 9: ")
