"""The engine's bfloat16 and bfloat16x3 in plain NumPy, one row and one step at a time: engines must give its bytes.

It shares nothing with the C++ sources but the formulas.
"""

# Over 150 lines: one definition, from rounding to a stack of layers.

import numpy as np

BLOCK = 32
LEAST = np.float32(2.0**-56)
LOG2E = 1.4426950408889634074
ONE, TANH = np.float32(1), np.float32(-2 * LOG2E)
POLYNOMIALS = {
    "bfloat16": [0.05500893294811249, 0.24221095442771912, 0.6932829022407532, 1],
    "bfloat16x3": [
        *(0.001326472731307149, 0.009671512991189957, 0.05550733581185341),
        *(0.24022242426872253, 0.6931470036506653, 1),
    ],
}
SLOPES = {"sigmoid": -LOG2E, "hard_sigmoid": 1 / 5, "hard_sigmoid_keras3": 1 / 6}


def rounded(x):
    """X rounded to bfloat16, to nearest even, as float32; what is nearer to zero than 2^-56 becomes zero."""
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    up = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.abs(x) < LEAST, np.float32(0), up)


def fma(a, b, c):
    """A multiply-add that rounds once: float64 holds the product, and the sum is rounded to odd before float32."""
    product, c = np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)
    total = product + c
    virtual = total - product
    lost = (product - (total - virtual)) + (c - virtual)
    even = total.view(np.int64) & 1 == 0
    odd = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    return np.where(even & (lost != 0), odd, total).astype(np.float32)


def pieces(x, arithmetic):
    """The bfloat16 numbers whose sum stands for X, the largest first."""
    first = rounded(x)
    return [first] if arithmetic == "bfloat16" else [first, rounded(np.asarray(x, np.float32) - first)]


def kept(x, arithmetic):
    """X as an input or a state of the next product is kept: in pieces, which are added again."""
    first, *second = pieces(x, arithmetic)
    return first + second[0] if second else first


def blocks(weights, x, arithmetic):
    """The total of the products of `x` (depth) and `weights` (depth, columns), in pieces: block after block."""
    padding = -len(x) % BLOCK
    x = pieces(np.pad(x, (0, padding)), arithmetic)
    weights = pieces(np.pad(weights, ((0, padding), (0, 0))), arithmetic)
    products = [(0, 0)] if arithmetic == "bfloat16" else [(1, 0), (0, 0), (0, 1)]
    total = np.zeros(weights[0].shape[1], np.float32)
    for begin in range(0, len(x[0]), BLOCK):
        for left, right in products:
            even = odd = np.zeros_like(total)
            for k in range(begin, begin + BLOCK, 2):  # products of two bfloat16 numbers are exact in float32
                even = even + weights[right][k] * x[left][k]
                odd = odd + weights[right][k + 1] * x[left][k + 1]
            total = total + (even + odd)
    return total


def exp2(x, arithmetic):
    x = np.clip(x, np.float32(-40), np.float32(40))
    whole = np.rint(x)
    first, *others = np.array(POLYNOMIALS[arithmetic], np.float32)
    p = np.broadcast_to(first, x.shape)
    for coefficient in others:
        p = fma(p, x - whole, coefficient)
    return np.ldexp(p, whole.astype(np.int32))


def tanh(x, arithmetic):
    e = exp2(x, arithmetic)
    return (ONE - e) / (ONE + e)


def sum_of(terms):
    """Float64 terms (count,), summed as maps sum them: eight sums of every eighth term, which are added in pairs."""
    padded = np.concatenate([terms, np.zeros(-len(terms) % 8)]).reshape(-1, 8)
    sums = [0.0] * 8
    for row in padded:
        sums = [one + term for one, term in zip(sums, row, strict=True)]
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))


def normalized(x, epsilon):
    """A vector (float32) minus its mean, times the inverse of its deviation, in float64."""
    x = x.astype(np.float64)
    centred = x - sum_of(x) / len(x)
    return centred * (1 / np.sqrt(sum_of(centred * centred) / len(x) + epsilon))


class Layer:
    """One direction of a layer, with its weights scaled as the engine scales them."""

    def __init__(self, config, weights, prefix, arithmetic):
        self.config, self.units, self.arithmetic = config, config.units, arithmetic
        self.lstm, self.hard = config.kind in ("lstm", "mlstm"), config.gates != "sigmoid"
        slope = SLOPES[config.gates]
        self.scale = [slope, slope, -2 * LOG2E] + ([slope] if self.lstm else [])
        self.kernel, self.state_kernel = (
            self._scaled(weights[f"{prefix}.{name}"]) for name in ("kernel", "recurrent_kernel")
        )
        bias = [self._scaled(row) for row in np.atleast_2d(weights[f"{prefix}.bias"])]
        self.input_bias, self.candidate_bias = np.float32(0) + bias[0], None
        if self.hard:
            half = np.repeat([0.5 if gate != 2 else 0 for gate in range(len(self.scale))], self.units)
        if len(bias) == 2:  # a GRU that resets after the product has a bias for the state, too
            both, cut = self.input_bias + bias[1], 2 * self.units
            if self.hard:  # the half is added before the state's bias
                both = (self.input_bias + half.astype(np.float32)) + bias[1]
            self.candidate_bias = bias[1][cut:]
            self.input_bias = np.concatenate([both[:cut], self.input_bias[cut:]])
        elif self.hard:
            self.input_bias = self.input_bias + half.astype(np.float32)
        self.projection = weights[f"{prefix}.projection"] if config.projection else None
        self.input_factor, self.state_factor = (weights.get(f"{prefix}.{side}_factor") for side in ("input", "state"))
        clips = (np.inf if clip is None else clip for clip in (config.cell_clip, config.projection_clip))
        self.cell_clip, self.projection_clip = map(np.float32, clips)
        names = ("bias", "input_shift", "input_gain", "state_shift", "state_gain", "cell_gain", "cell_bias")
        self.norms = {name: weights[f"{prefix}.{name}"] for name in names} if config.norm else None
        if self.norms:  # the scales are in the gates, after the norms
            self.kernel, self.state_kernel = weights[f"{prefix}.kernel"], weights[f"{prefix}.recurrent_kernel"]
            self.input_bias = self.norms["input_shift"]
        state = config.projection or self.units
        self.zero = not config.first_state
        self.first_state = weights.get(f"{prefix}.first_state", np.zeros(state, np.float32))
        self.first_cell = weights.get(f"{prefix}.first_cell", np.zeros(self.units, np.float32))

    def _scaled(self, matrix):
        scale = np.repeat(self.scale, self.units)
        return (matrix.astype(np.float64) * scale).astype(np.float32)

    def table(self, vector):
        """The start of a token whose input product is in the table, from its embedding; or from its id's row alone."""
        start = self.input_bias
        for weights, number in zip(self.kernel, vector, strict=True):
            start = fma(weights, number, start)
        return start

    def factor(self, vector):
        """The input's factor of a token whose input product is in the table, in a multiplicative LSTM."""
        start = np.zeros(self.units, np.float32)
        for weights, number in zip(self.input_factor, vector, strict=True):
            start = fma(weights, number, start)
        return start

    def exp2(self, x):
        return exp2(x, self.arithmetic)

    def tanh(self, x):
        return tanh(x, self.arithmetic)

    def blocks(self, weights, x):
        return blocks(weights, x, self.arithmetic)

    def gate(self, x):
        return np.clip(x, 0, 1) if self.hard else ONE / (ONE + self.exp2(x))

    def states(self, starts, factors, inputs):
        """The states after each token: `starts` and `factors` are a table's, or `inputs` the vectors to multiply."""
        hidden = self.first_state
        cell = self.first_cell if self.lstm else self.first_state
        found = []
        for k in range(len(starts if inputs is None else inputs)):
            start = self.input_bias if starts is None else starts[k]
            x = np.zeros(0, np.float32) if inputs is None else inputs[k]
            if self.norms:
                hidden, cell = self._normed(x, hidden, cell, start, first=k == 0)
                found.append(hidden)
                continue
            if self.state_factor is not None:
                factor = self.blocks(self.input_factor, x) if factors is None else factors[k]
                hidden = self.blocks(self.state_factor, hidden) * factor
            if self.lstm:
                hidden, cell = self._lstm(x, hidden, cell, start)
            else:
                cell = self._gru(x, cell, start)
                hidden = cell
            found.append(hidden)
        return found

    def _sums(self, x, hidden, gates):
        """The totals of gates that have products of the input and of the state: blocks of one, then of the other."""
        columns = slice(gates.start * self.units, gates.stop * self.units)
        padding = np.zeros(-len(x) % BLOCK, np.float32)
        kernel = np.pad(self.kernel[: len(x), columns], ((0, len(padding)), (0, 0)))
        return self.blocks(
            np.concatenate([kernel, self.state_kernel[:, columns]]), np.concatenate([x, padding, hidden])
        )

    def _lstm(self, x, hidden, cell, start):
        i, f, g, o = np.split(self._sums(x, hidden, slice(0, 4)) + start, 4)
        if self.hard:
            cell = self._clipped(fma(np.clip(f, 0, 1), cell, np.clip(i, 0, 1) * self.tanh(g)))
            hidden = np.clip(o, 0, 1) * self.tanh(cell * TANH)
        else:
            i, f, g, o = map(self.exp2, (i, f, g, o))
            sides = (ONE + i) * (ONE + g)
            cell = self._clipped(fma(cell, sides, (ONE - g) * (ONE + f)) / (sides * (ONE + f)))
            e = self.exp2(cell * TANH)
            hidden = (ONE - e) / ((ONE + o) * (ONE + e))
        if self.projection is not None:
            hidden = np.clip(self.blocks(self.projection, hidden), -self.projection_clip, self.projection_clip)
        return hidden, cell

    def _normed(self, x, hidden, cell, start, *, first):
        given = start if not len(x) else self.blocks(self.kernel, x) + start
        before, epsilon = self.norms["state_shift"], self.config.epsilon
        if not (first and self.zero):
            before = self.blocks(self.state_kernel, hidden) + before
        total = normalized(given, epsilon) * self.norms["input_gain"]
        total = total + normalized(before, epsilon) * self.norms["state_gain"] + self.norms["bias"]
        i, f, g, o = map(self.exp2, np.split((total * np.repeat(self.scale, self.units)).astype(np.float32), 4))
        sides = (ONE + i) * (ONE + g)
        cell = fma(cell, sides, (ONE - g) * (ONE + f)) / (sides * (ONE + f))
        normal = normalized(cell, epsilon) * self.norms["cell_gain"] + self.norms["cell_bias"]
        normal = normal.astype(np.float32)
        e = self.exp2(normal * TANH)
        hidden = (ONE - e) / ((ONE + o) * (ONE + e))
        return hidden, normal if self.config.norm == "carried" else cell

    def _clipped(self, cell):
        return np.clip(cell, -self.cell_clip, self.cell_clip)

    def _gru(self, x, state, start):
        cut = 2 * self.units
        z, r = np.split(self._sums(x, state, slice(0, 2)) + start[:cut], 2)
        candidate = self.blocks(self.kernel[: len(x), cut:], x) + start[cut:]
        if self.candidate_bias is None:
            candidate = self.blocks(self.state_kernel[:, cut:], state * self.gate(r)) + candidate
        else:
            candidate = fma(
                self.gate(r), self.blocks(self.state_kernel[:, cut:], state) + self.candidate_bias, candidate
            )
        if self.hard:
            z = np.clip(z, 0, 1)
            return fma(z, state, (ONE - z) * self.tanh(candidate))
        z, c = self.exp2(z), self.exp2(candidate)
        return fma(state, ONE + c, z * (ONE - c)) / ((ONE + z) * (ONE + c))


ACTIVATIONS = {
    "linear": lambda x, _: x,
    "tanh": tanh,
    "relu": lambda x, _: np.where(x < 0, np.float32(0), x),
    "sigmoid": lambda x, arithmetic: ONE / (ONE + exp2(x, arithmetic)),
}
FACTORS = {"tanh": -2 * LOG2E, "sigmoid": -LOG2E}


def map_output(layer, x, tensors, arithmetic):
    """The output of a map for one vector, which is rounded to pieces first; norms and scales are float64."""
    factor, bias = FACTORS.get(layer.activation, 1.0), tensors["bias"]
    if layer.kind == "dense":
        kernel, bias = ((one.astype(np.float64) * factor).astype(np.float32) for one in (tensors["kernel"], bias))
        return ACTIVATIONS[layer.activation](blocks(kernel, x, arithmetic) + bias, arithmetic)
    x = kept(x, arithmetic)
    x = normalized(x, layer.epsilon) if layer.kind == "layer_norm" else x.astype(np.float64)
    scaled = (x * tensors["gain"] + bias).astype(np.float32)
    return ACTIVATIONS[layer.activation](scaled * np.float32(factor), arithmetic)


def layer_states(config, weights, row, tabled, arithmetic="bfloat16"):
    """Every layer's states (tokens, width) of one row; `tabled` says whether the engine has a table."""
    embedding = weights.get("embedding")
    made = [None if embedding is None else embedding[row]]
    for number, layer in enumerate(config.layers):
        outputs, results = [], made[-1]
        if not hasattr(layer, "direction"):
            tensors = {part: weights[f"{layer.kind}.{number}.{part}"] for part in layer.shapes(1)}
            output = np.array([map_output(layer, x, tensors, arithmetic) for x in results], np.float32)
            output = output.reshape(-1, layer.units)
            made.append(output + kept(made[-layer.span], arithmetic) if layer.residual else output)
            continue
        for backward, prefix in zip(
            {"forward": [False], "backward": [True], "bidirectional": [False, True]}[layer.direction],
            layer.prefixes(number),
            strict=True,
        ):
            cell = Layer(layer, weights, prefix, arithmetic)
            starts, factors, inputs = None, None, results
            if number == 0 and embedding is None:
                starts, inputs = [cell.input_bias + cell.kernel[token - 1] for token in row], None
                factors = [cell.input_factor[token - 1] for token in row] if layer.kind == "mlstm" else None
            elif number == 0 and tabled:
                starts, inputs = [cell.table(embedding[token]) for token in row], None
                factors = [cell.factor(embedding[token]) for token in row] if layer.kind == "mlstm" else None
            turn = slice(None, None, -1 if backward else 1)
            states = cell.states(*(part if part is None else part[turn] for part in (starts, factors, inputs)))
            outputs.append(np.array(states, np.float32).reshape(len(row), layer.projection or layer.units)[turn])
        output = np.concatenate(outputs, axis=1)
        made.append(output + kept(made[-layer.span], arithmetic) if layer.residual else output)
    return made[1:]
