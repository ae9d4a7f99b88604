"""Every kind of layer in plain NumPy and float64, one row and one step at a time: engines are compared with it.

The equations of Hochreiter & Schmidhuber 1997 with the forget gate (LSTM), Sak et al. 2014 (its projection) and
Cho et al. 2014 (GRU; "after" as in cuDNN). Nothing here is shared with what is tested but the configuration.
"""

import numpy as np


def sigmoid(x):
    # In two halves, so that no exponential overflows.
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


#: What the gates of a layer are: Keras's sigmoid, its hard_sigmoid up to version 2, and that of version 3.
GATES = {
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid_keras3": lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
}


FACTORS = ("input_factor", "state_factor")
NORMS = ("input_shift", "input_gain", "state_shift", "state_gain", "cell_gain", "cell_bias")


def lstm_states(
    inputs,
    kernel,
    recurrent_kernel,
    bias,
    projection=None,
    first_state=None,
    first_cell=None,
    gate=sigmoid,
    input_factor=None,
    state_factor=None,
    cell_clip=np.inf,
    projection_clip=np.inf,
):
    """From inputs (time, D) to states (time, S); with factors, the multiplicative LSTM of Krause et al. 2016."""
    cell = np.zeros(len(bias) // 4) if first_cell is None else first_cell
    state, states = np.zeros(len(recurrent_kernel)) if first_state is None else first_state, []
    for x in inputs:
        if input_factor is not None:
            state = (x @ input_factor) * (state @ state_factor)
        i, f, candidate, o = np.split(x @ kernel + state @ recurrent_kernel + bias, 4)
        cell = np.clip(gate(f) * cell + gate(i) * np.tanh(candidate), -cell_clip, cell_clip)
        state = gate(o) * np.tanh(cell)
        if projection is not None:
            state = np.clip(state @ projection, -projection_clip, projection_clip)
        states.append(state)
    return np.array(states).reshape(len(inputs), len(recurrent_kernel))


def normalized(x, epsilon):
    return (x - x.mean()) / np.sqrt(x.var() + epsilon)


def normed_states(
    inputs, kernel, recurrent_kernel, bias, input_shift, input_gain, state_shift, state_gain, cell_gain, cell_bias,
    first_state=None, first_cell=None, *, epsilon, carries,
):  # fmt: skip
    """From inputs (time, D) to states (time, U) of Ba et al. 2016's LSTM: norms of both products and of the cell."""
    units = len(cell_gain)
    cell, state = (np.zeros(units) if one is None else one for one in (first_cell, first_state))
    states = []
    for x in inputs:
        given = normalized(x @ kernel + input_shift, epsilon) * input_gain
        before = normalized(state @ recurrent_kernel + state_shift, epsilon) * state_gain
        i, f, candidate, o = np.split(given + before + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(candidate)
        normal = normalized(cell, epsilon) * cell_gain + cell_bias
        state, cell = sigmoid(o) * np.tanh(normal), normal if carries else cell
        states.append(state)
    return np.array(states).reshape(len(inputs), units)


def gru_states(inputs, kernel, recurrent_kernel, bias, first_state=None, gate=sigmoid):
    """From inputs (time, D) to states (time, U); resets after the recurrent product if the bias has two rows."""
    state, states = np.zeros(len(recurrent_kernel)) if first_state is None else first_state, []
    to_z, to_r, to_h = np.split(recurrent_kernel, 3, axis=1)
    for x in inputs:
        xz, xr, xh = np.split(x @ kernel + (bias[0] if bias.ndim == 2 else bias), 3)
        bz, br, bh = np.split(bias[1], 3) if bias.ndim == 2 else (0, 0, 0)
        z = gate(xz + state @ to_z + bz)
        r = gate(xr + state @ to_r + br)
        candidate = np.tanh(xh + (r * (state @ to_h + bh) if bias.ndim == 2 else (r * state) @ to_h))
        state = z * state + (1 - z) * candidate
        states.append(state)
    return np.array(states).reshape(len(inputs), len(recurrent_kernel))


#: The functions of maps.
ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.where(x < 0, 0, x),
    "sigmoid": sigmoid,
}


def map_outputs(layer, inputs, kernel=None, gain=None, bias=None):
    """From inputs (time, D) to the outputs (time, U) of a map: Dense, Ba et al. 2016's LayerNorm, or a scale."""
    if layer.kind == "dense":
        return ACTIVATIONS[layer.activation](inputs @ kernel + bias)
    if layer.kind == "layer_norm":
        centred = inputs - inputs.mean(1, keepdims=True)
        inputs = centred / np.sqrt((centred**2).mean(1, keepdims=True) + layer.epsilon)
    return ACTIVATIONS[layer.activation](inputs * gain + bias)


def layer_states(config, weights, tokens):
    """The states of every layer over one row.

    Args:
        config: a ModelConfig.
        weights: its tensors, by name.
        tokens: (time,) ids, each in 1..vocab_size: the row's real tokens; or vectors (time, width).

    Returns:
        For each layer float64 (time, its output_dim). If rows are padded, padding is computed, but not in the result.
    """
    padding = config.padding
    ids = np.asarray(tokens, int if config.vector_dim is None else np.float64)
    if padding is not None:
        more = np.full(padding.length - len(ids), padding.id)
        ids = np.concatenate([ids, more] if padding.side == "after" else [more, ids])
    if config.vector_dim is not None:
        inputs = ids
    elif config.embedding_dim is None:
        inputs = np.concatenate([np.zeros((1, config.vocab_size)), np.eye(config.vocab_size)])[ids]
    else:
        inputs = weights["embedding"].astype(np.float64)[ids]
    made = [inputs]
    for number, layer in enumerate(config.layers):
        inputs = made[-1]
        if not hasattr(layer, "direction"):
            given = {part: weights[f"{layer.kind}.{number}.{part}"].astype(np.float64) for part in layer.shapes(1)}
            outputs = map_outputs(layer, inputs, **given)
            made.append(outputs + made[-layer.span] if layer.residual else outputs)
            continue
        run = {"lstm": lstm_states, "gru": gru_states, "mlstm": lstm_states}[layer.kind]
        clips = {name: getattr(layer, name) for name in ("cell_clip", "projection_clip") if getattr(layer, name)}
        directions = []
        for prefix in (f"{layer.kind}.{number}", f"{layer.kind}.{number}.backward"):
            parts = ("kernel", "recurrent_kernel", "bias", "projection", "first_state", "first_cell", *FACTORS, *NORMS)
            names = {part: f"{prefix}.{part}" for part in parts}
            given = {part: weights[name].astype(np.float64) for part, name in names.items() if name in weights}
            if not given:
                continue
            step = -1 if prefix.endswith("backward") else 1
            if layer.norm:
                norms = {"epsilon": layer.epsilon, "carries": layer.norm == "carried"}
                directions.append(normed_states(inputs[::step], **given, **norms)[::step])
                continue
            directions.append(run(inputs[::step], **given, **clips, gate=GATES[layer.gates])[::step])
        outputs = np.concatenate(directions, axis=1)
        made.append(outputs + made[-layer.span] if layer.residual else outputs)
    if padding is None:
        return made[1:]
    real = slice(len(tokens)) if padding.side == "after" else slice(len(ids) - len(tokens), None)
    return [states[real] for states in made[1:]]


def begun(config, weights, numbers):
    """The weights with what one row brings, `numbers` (given_dim,), as the first states of the layers that read it."""
    parts = {"h": "first_state", "c": "first_cell"}
    edges = np.cumsum([0, *(part.width for part in config.given_parts)])
    names = [
        f"{config.layers[part.layer].kind}.{part.layer}{'.backward' if part.backward else ''}.{parts[part.name]}"
        for part in config.given_parts
    ]
    return weights | {name: numbers[start:stop] for name, start, stop in zip(names, edges, edges[1:], strict=False)}


def column(states, pooling):
    """A row's contribution to a column: all states for "none", else one vector, zeros for a row without tokens."""
    if pooling == "none":
        return states
    if not len(states):
        return np.zeros(states.shape[1])
    return {"mean": states.mean(0), "max": states.max(0), "first": states[0], "last": states[-1]}[pooling]


def random_weights(config, seed, scale=0.7):
    """Weights so large that a wrong gate or a lost state changes the first digit."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0, scale, shape).astype(np.float32) for name, shape in config.shapes().items()}
