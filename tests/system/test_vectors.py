"""A model that reads vectors, from its file to the vectors of a job, by commands alone."""

import json

import numpy as np
import pytest
from support.shell import ENGINE, unrolled

from unrolled import load
from unrolled import open as open_dataset

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from support.onnx_graph import Graph  # noqa: E402


def test_a_job_has_the_sources_vectors(tmp_path):
    """Those of the file's own graph, in a job and in a program; a row of another width is in quarantine."""
    graph = Graph(shape=("time", "batch", 6), kind=onnx.TensorProto.FLOAT)
    model = graph.model(graph.lstm("ids", 6, sides=2, direction="bidirectional"))
    onnx.save(model, tmp_path / "sensor.onnx")
    done = unrolled("model", "import", "sensor.onnx", "model", "--vectors", "--no-parity", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "took  no embedding: rows contain vectors of 6 numbers" in done.stdout

    random = np.random.default_rng(0)
    rows = {name: random.standard_normal((length, 6), np.float32) for name, length in (("a", 3), ("b", 1), ("c", 20))}
    rows |= {"empty": rows["a"][:0], "again": rows["a"]}
    lines = [{"id": name, "frames": row.astype(float).tolist()} for name, row in rows.items()]
    lines.append({"id": "narrow", "frames": [[1, 2, 3]]})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ("--vectors-field", "frames", "--pooling", "none,max", "--engine", ENGINE, "--shard-tokens", "5")
    done = unrolled("run", "rows.jsonl", "--model", "model", "--out", "out", *options, cwd=tmp_path)
    assert "verified; 6 rows in, 5 out in 3 whole files (27 tokens), 1 in quarantine" in done.stderr + done.stdout

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dataset = open_dataset(tmp_path / "out")
    encoded = dict(zip(rows, load(tmp_path / "model", engine=ENGINE).encode(list(rows.values())), strict=True))
    for name, row in rows.items():
        found = dataset[name].outputs
        assert found.tobytes() == encoded[name].tobytes()
        if len(row):
            (wanted,) = session.run(None, {"ids": row[:, None]})
            np.testing.assert_allclose(found, wanted.reshape(len(row), -1), rtol=0, atol=1e-5)
    listed = unrolled("quarantine", "out", "--json", cwd=tmp_path)
    assert "vector 0 (from 0) has 3 numbers; the model reads vectors of 6" in listed.stdout + listed.stderr
