"""A decoder of Keras that is given initial states, from its file to the vectors of a job, by commands alone."""

import json

import numpy as np
import pytest
from support.shell import ENGINE, unrolled
from support.tokenizers import words

from unrolled import load
from unrolled import open as open_dataset

keras = pytest.importorskip("keras")
layers = keras.layers
# Keras's variables warn with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def decoder():
    """Two layers that start from states which the model is given."""
    ids, *states = keras.Input((None,), dtype="int32"), *(keras.Input((width,)) for width in (5, 5, 3))
    low = layers.LSTM(5, return_sequences=True)(layers.Embedding(10, 4)(ids), initial_state=states[:2])
    model = keras.Model([ids, *states], layers.GRU(3, return_sequences=True)(low, initial_state=states[2]))
    random = np.random.default_rng(2)
    for variable in model.variables:
        variable.assign(random.normal(0, 0.6, variable.shape))
    return model


def test_a_job_begins_each_row_with_its_own_state(tmp_path):
    """Texts and their states in JSON lines; a state that can't be used costs its row alone, and a plan knows of it."""
    model = decoder()
    model.save(tmp_path / "decoder.keras")
    (tmp_path / "tokenizer.json").write_text(words().to_str())
    options = ("--initial-states", "--tokenizer", "tokenizer.json", "--ids-from", "1", "--no-parity")
    done = unrolled("model", "import", "decoder.keras", "decoder", *options, cwd=tmp_path)
    assert "took  initial states: each row brings 13 numbers, layer 0's h (5), from" in done.stdout, done.stderr

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
        if len(ids):
            wanted = model([ids[None], *np.split(np.float32([state]), (5, 10), axis=1)])
            np.testing.assert_allclose(found, wanted[0], rtol=0, atol=1e-5)
    listed = unrolled("quarantine", "out", "--json", cwd=tmp_path)
    for reason in ("its initial state has 1 number; the model reads 13", "has no 'encoded' for its initial state"):
        assert reason in listed.stdout + listed.stderr
