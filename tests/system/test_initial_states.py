"""A model that reads initial states, from its rows to the vectors of a job, by commands alone."""

import json

import numpy as np
from support.reference import begun, layer_states, random_weights
from support.shell import ENGINE, unrolled
from support.tokenizers import words

from unrolled import load
from unrolled import open as open_dataset
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig


def test_a_job_begins_each_row_with_its_own_state(tmp_path):
    """Texts and their states in JSON lines; a state that can't be used costs its row alone, and a plan knows of it."""
    config = ModelConfig(9, 9, 4, (LayerConfig(5, given_state=True), LayerConfig(3, "gru", given_state=True)))
    weights = random_weights(config, 1)
    save_model(tmp_path / "decoder", config, weights, words().to_str())
    random = np.random.default_rng(0)
    rows = {name: (text, random.normal(0, 1, 13).tolist()) for name, text in
            (("a", "a b a"), ("b", "a b a"), ("c", "b"), ("empty", ""), ("d", "zzz a b b a"))}  # fmt: skip
    rows["again"] = rows["a"]
    lines = [{"id": name, "text": text, "encoded": state} for name, (text, state) in rows.items()]
    lines += [{"id": "short", "text": "a", "encoded": [1.0]}, {"id": "none", "text": "a"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    inputs = ("rows.jsonl", "--model", "decoder", "--initial-state-field", "encoded", "--engine", ENGINE)
    planned = unrolled("plan", *inputs, "--json", cwd=tmp_path)
    assert json.loads(planned.stdout)["rows"]["quarantined"]["value"] == 2, planned.stderr
    done = unrolled("run", *inputs, "--out", "out", "--pooling", "none,max", "--shard-tokens", "5", cwd=tmp_path)
    assert "verified; 8 rows in, 6 out" in done.stderr + done.stdout

    dataset, encoder = open_dataset(tmp_path / "out"), load(tmp_path / "decoder", engine=ENGINE)
    texts, states = [text for text, _ in rows.values()], [state for _, state in rows.values()]
    encoded = dict(zip(rows, encoder.encode(texts, initial_states=states), strict=True))
    for (name, (_, state)), ids in zip(rows.items(), encoder.tokenize(texts), strict=True):
        found = dataset[name].outputs
        assert found.tobytes() == encoded[name].tobytes()
        wanted = layer_states(config, begun(config, weights, np.float32(state)), ids)[-1].reshape(len(ids), 3)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    listed = unrolled("quarantine", "out", "--json", cwd=tmp_path)
    for reason in ("its initial state has 1 number; the model reads 13", "has no 'encoded' for its initial state"):
        assert reason in listed.stdout + listed.stderr
