"""Makes the models beside this file, with other people's code for ELMo.

    python tests/elmo_models/make.py models        the files themselves, with random weights; NumPy and h5py
    python tests/elmo_models/make.py allennlp      their states by simple-elmo-pytorch 0.2, whose code is AllenNLP's
    python tests/elmo_models/make.py bilm          and by simple-elmo 0.9.2, whose code is bilm's, for TensorFlow 2

Each directory is an ELMo as it is published. NAME.PACKAGE.npz contains the layers of each row of `ROWS`, one array
(layers, words, numbers) a row, in which a package computed them alone, in a fresh process.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROWS = [["The"], ["a", "naïve", "cat", "☃"], ["word" * 20, "x", "The", "cat", ".", "x", "x"]]
WORDS = sorted({word for row in ROWS for word in row} | {"more"})
#: AllenNLP's words have 50 characters, and its layers are always residual and projected.
MODELS = {
    "published": {
        "char_cnn": {
            "activation": "relu", "embedding": {"dim": 4}, "filters": [[1, 4], [2, 4], [3, 6], [7, 8]],
            "max_characters_per_token": 50, "n_characters": 262, "n_highway": 2,
        },
        "lstm": {
            "cell_clip": 0.7, "dim": 9, "n_layers": 2, "proj_clip": 0.6, "projection_dim": 6,
            "use_skip_connections": True,
        },
    },
    "unusual": {
        "char_cnn": {
            "activation": "tanh", "embedding": {"dim": 3}, "filters": [[1, 3], [5, 5]],
            "max_characters_per_token": 12, "n_characters": 262, "n_highway": 1,
        },
        "lstm": {"cell_clip": None, "dim": 6, "n_layers": 3, "projection_dim": 6, "use_skip_connections": False},
    },
}  # fmt: skip


def make_models() -> None:
    """Write options.json, weights.hdf5 and words.txt of each model."""
    sys.path.insert(0, str(HERE.parent))
    from support.elmo_files import random_arrays, write  # noqa: PLC0415 - only this step needs the tests' folder

    for seed, (name, options) in enumerate(MODELS.items()):
        write(HERE / name, options, random_arrays(options, seed), WORDS)


def run_allennlp(directory: Path, row: list[str]) -> np.ndarray:
    """The layers of a row by AllenNLP's code."""
    from simple_elmo_pytorch import ElmoBiLmSentence, batch_to_ids  # noqa: PLC0415 - only this step needs it
    from simple_elmo_pytorch.nn.util import remove_sentence_boundaries  # noqa: PLC0415 - as above

    model = ElmoBiLmSentence(str(directory / "options.json"), str(directory / "weights.hdf5"))
    made = model(batch_to_ids([row]))
    layers = [remove_sentence_boundaries(layer, made["mask"])[0] for layer in made["activations"]]
    return np.stack([layer[0].detach().numpy() for layer in layers])


def run_bilm(directory: Path, row: list[str]) -> np.ndarray:
    """The layers of a row by bilm's code."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf  # noqa: PLC0415 - only this step needs it
    from simple_elmo import Batcher, BidirectionalLanguageModel  # noqa: PLC0415 - as above

    most = json.loads((directory / "options.json").read_text())["char_cnn"]["max_characters_per_token"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        characters = tf.compat.v1.placeholder("int32", (None, None, most))
        model = BidirectionalLanguageModel(str(directory / "options.json"), str(directory / "weights.hdf5"))
        layers = model(characters)["lm_embeddings"]
        session.run(tf.compat.v1.global_variables_initializer())
        given = Batcher(None, most).batch_sentences([row])
        return np.asarray(session.run(layers, {characters: given})[0])


def main() -> None:
    """Do one of the three steps."""
    if sys.argv[1] == "models":
        make_models()
        return
    package, run = {"allennlp": ("allennlp", run_allennlp), "bilm": ("bilm", run_bilm)}[sys.argv[1]]
    for name in MODELS:
        if (name, package) != ("unusual", "allennlp"):
            rows = {str(number): run(HERE / name, row) for number, row in enumerate(ROWS)}
            np.savez_compressed(HERE / f"{name}.{package}.npz", **rows)


if __name__ == "__main__":
    main()
