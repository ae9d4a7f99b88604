"""Small ELMos with random weights, and their states by the published equations, in NumPy and float64."""

import json

import h5py
import numpy as np
from support.reference import lstm_states, sigmoid

CLIPS = {"cell_clip": 0.6, "proj_clip": 0.5}
OPTIONS = {
    "bidirectional": True,
    "char_cnn": {
        "activation": "relu",
        "embedding": {"dim": 3},
        "filters": [[1, 3], [2, 4], [5, 4]],
        "max_characters_per_token": 9,
        "n_characters": 262,
        "n_highway": 2,
    },
    "lstm": {"dim": 6, "projection_dim": 4, "n_layers": 2, "use_skip_connections": True, **CLIPS},
    "dropout": 0.1,
}


def changed(options=OPTIONS, /, *, char_cnn=(), lstm=(), **others):
    """A copy of the options with other values; None for `char_cnn` leaves it out."""
    made = json.loads(json.dumps(options)) | others
    made["lstm"] |= dict(lstm)
    if char_cnn is None:
        del made["char_cnn"]
    else:
        made["char_cnn"] |= dict(char_cnn)
    return made


def random_arrays(options, seed=0, words=None):
    """Weights so large that states are clipped, by the names of bilm's files."""
    random = np.random.default_rng(seed)
    lstm = options["lstm"]
    width, units = lstm["projection_dim"], lstm["dim"]
    state = min(width, units) if width < units else units
    shapes = {} if words is None else {"embedding": (words, width)}
    if "char_cnn" in options:
        cnn = options["char_cnn"]
        dim, whole = cnn["embedding"]["dim"], sum(number for _, number in cnn["filters"])
        shapes["char_embed"] = (261, dim)
        for number, (size, outputs) in enumerate(cnn["filters"]):
            shapes |= {f"CNN/W_cnn_{number}": (1, size, dim, outputs), f"CNN/b_cnn_{number}": (outputs,)}
        for number in range(cnn["n_highway"] or 0):
            for part in ("carry", "transform"):
                shapes[f"CNN_high_{number}/W_{part}"] = (whole, whole)
                shapes[f"CNN_high_{number}/b_{part}"] = (whole,)
        if whole != width:
            shapes |= {"CNN_proj/W_proj": (whole, width), "CNN_proj/b_proj": (width,)}
    for direction in (0, 1):
        for layer in range(lstm["n_layers"]):
            cell = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            shapes[f"{cell}/W_0"] = ((state if layer else width) + state, 4 * units)
            shapes[f"{cell}/B"] = (4 * units,)
            if width < units:
                shapes[f"{cell}/W_P_0"] = (units, width)
    # Vectors of words that are much larger than those of a trained model would saturate all gates.
    scales = {name: 0.9 if name.startswith("RNN_") else 0.45 for name in shapes}
    return {name: random.normal(0, scales[name], shape).astype(np.float32) for name, shape in shapes.items()}


def write(directory, options, arrays, words, weights="weights.hdf5", names="options.json"):
    """Write the three files; returns the path of the weights and that of the words."""
    directory.mkdir(exist_ok=True)
    (directory / names).write_text(json.dumps(options))
    with h5py.File(directory / weights, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    (directory / "words.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return directory / weights, directory / "words.txt"


def word_vector(word, options, arrays):
    """The vector of one word, filter by filter and place by place."""
    cnn = options["char_cnn"]
    inner = {"<S>": [256], "</S>": [257]}.get(word, list(word.encode())[: cnn["max_characters_per_token"] - 2])
    characters = [258, *inner, 259]
    characters += [260] * (cnn["max_characters_per_token"] - len(characters))
    vectors = arrays["char_embed"].astype(np.float64)[characters]
    activation = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[cnn["activation"]]
    outputs = []
    for number, (width, _) in enumerate(cnn["filters"]):
        kernel, bias = arrays[f"CNN/W_cnn_{number}"][0], arrays[f"CNN/b_cnn_{number}"]
        places = [
            sum(vectors[place + one] @ kernel[one] for one in range(width)) + bias
            for place in range(len(characters) - width + 1)
        ]
        outputs.append(activation(np.max(places, axis=0)))
    x = np.concatenate(outputs)
    for number in range(cnn["n_highway"] or 0):
        carry, transform = (
            x @ arrays[f"CNN_high_{number}/W_{part}"] + arrays[f"CNN_high_{number}/b_{part}"]
            for part in ("carry", "transform")
        )
        x = sigmoid(carry) * np.maximum(transform, 0) + (1 - sigmoid(carry)) * x
    return x @ arrays["CNN_proj/W_proj"] + arrays["CNN_proj/b_proj"] if "CNN_proj/W_proj" in arrays else x


def layers_of(text, options, arrays, vocabulary=None):
    """The states of both directions side by side after each layer, at the words alone: a list of (words, 2 S)."""
    lstm = options["lstm"]
    whole = ["<S>", *text, "</S>"]
    if vocabulary is None:
        vectors = np.stack([word_vector(word, options, arrays) for word in whole])
    else:
        vectors = arrays["embedding"].astype(np.float64)[[vocabulary.index(word) for word in whole]]
    sides = []
    for direction, step in ((0, 1), (1, -1)):
        given, of_layers = vectors[::step], []
        for layer in range(lstm["n_layers"]):
            cell = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            kernel, bias = arrays[f"{cell}/W_0"].astype(np.float64), arrays[f"{cell}/B"].astype(np.float64)
            i, j, f, o = np.split(np.vstack([kernel, bias]), 4, axis=1)  # TensorFlow's order
            kernel, bias = np.split(np.hstack([i, f, j, o]), [len(kernel)])
            bias = bias[0]
            bias[lstm["dim"] : 2 * lstm["dim"]] += 1
            inputs = given.shape[1]
            made = lstm_states(
                given,
                kernel[:inputs],
                kernel[inputs:],
                bias,
                arrays.get(f"{cell}/W_P_0"),
                cell_clip=lstm.get("cell_clip") or np.inf,
                projection_clip=lstm.get("proj_clip") or np.inf,
            )
            given = made + given if layer and lstm["use_skip_connections"] else made
            of_layers.append(given[::step])
        sides.append(of_layers)
    return [np.hstack(both)[1:-1] for both in zip(*sides, strict=True)]
