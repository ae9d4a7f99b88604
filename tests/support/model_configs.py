"""Hypothesis strategies of model configurations of every kind, as small as possible."""

from dataclasses import replace

from hypothesis import strategies as st

from unrolled.model.config import ModelConfig
from unrolled.model.layer import DIRECTIONS, GATES, NORMS, RESETS, LayerConfig
from unrolled.model.token_map import ACTIVATIONS, MAP_KINDS, MapConfig

#: Bounds that some states reach.
CLIPS = st.none() | st.sampled_from([0.1, 0.5])


@st.composite
def layers(draw, widest):
    """One layer without a residual connection."""
    units, direction = draw(st.integers(1, widest)), draw(st.sampled_from(DIRECTIONS))
    more = {"gates": draw(st.sampled_from(GATES)), "first_state": draw(st.booleans())}
    if draw(st.booleans()):
        return LayerConfig(units, "gru", direction, reset=draw(st.sampled_from(RESETS)), **more)
    if draw(st.booleans()) and more["gates"] == "sigmoid":
        # As that of maps, so large that a vector that is nearly constant doesn't become noise.
        norms = {"norm": draw(st.sampled_from(NORMS)), "epsilon": draw(st.sampled_from([0.1, 0.5]))}
        return LayerConfig(units, "lstm", direction, first_state=more["first_state"], **norms)
    more["cell_clip"] = draw(CLIPS)
    if draw(st.booleans()):
        return LayerConfig(units, "mlstm", direction, **more)
    projection = draw(st.none() | st.integers(1, widest))
    more["projection_clip"] = None if projection is None else draw(CLIPS)
    return LayerConfig(units, "lstm", direction, projection, **more)


def with_residual(layer, inputs):
    """The layer, made as wide as its input and residual; unchanged where that can't be."""
    directions = layer.output_dim // layer.state_dim
    if inputs % directions:
        return layer
    width = inputs // directions
    units, projection = (layer.units, width) if layer.projection else (width, None)
    return replace(layer, units=units, projection=projection, residual=True)


@st.composite
def maps(draw, widest, inputs):
    """One map on inputs of this width, without a residual connection."""
    kind, activation = draw(st.sampled_from(MAP_KINDS)), draw(st.sampled_from(ACTIVATIONS))
    if kind == "dense":
        return MapConfig(draw(st.integers(1, widest)), kind, activation)
    # A small epsilon would turn vectors that are nearly constant into rounding errors.
    epsilon = draw(st.sampled_from([0.1, 0.5])) if kind == "layer_norm" else None
    return MapConfig(inputs, kind, activation, epsilon)


def with_span(layer, widths, draw):
    """The map, or the recurrent layer, with a sum over some layers, if one below is as wide as it."""
    spans = [span for span in range(1, len(widths) + 1) if widths[-span] == layer.output_dim]
    return replace(layer, residual=True, span=draw(st.sampled_from(spans))) if spans else layer


@st.composite
def model_configs(draw, widest=5, deepest=3, largest_vocabulary=6):
    """Models of any kind of layers, on an embedding or on one-hot ids."""
    vocab_size = draw(st.integers(1, largest_vocabulary))
    embedding_dim = draw(st.none() | st.integers(1, widest))
    stack, widths = [], [embedding_dim]
    for layer in draw(st.lists(layers(widest), min_size=1, max_size=deepest)):
        stack.append(with_residual(layer, widths[-1]) if widths[-1] and draw(st.booleans()) else layer)
        if not stack[-1].residual and draw(st.booleans()):
            stack[-1] = with_span(layer, widths, draw)
        widths.append(stack[-1].output_dim)
        for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
            above = draw(maps(widest, widths[-1]))
            stack.append(with_span(above, widths, draw) if draw(st.booleans()) else above)
            widths.append(stack[-1].output_dim)
    return ModelConfig(vocab_size, draw(st.integers(1, 50)), embedding_dim, tuple(stack))


#: The stacked LSTM language model at its smallest, and its config.json. Others read this format, so it must not change.
STACKED = ModelConfig.stacked(vocab_size=100, max_length=12, num_lstm_units=8, num_lstm_layers=2, embedding_dim=3)
STACKED_JSON = {
    "format_version": 1,
    "vocab_size": 100,
    "max_length": 12,
    "embedding_dim": 3,
    "layers": [
        {
            "units": 8,
            "kind": "lstm",
            "direction": "forward",
            "projection": None,
            "residual": False,
            "reset": None,
            "gates": "sigmoid",
        }
    ]
    * 2,
}


def _model(*layers, embedding_dim=4, vocab_size=20):
    return ModelConfig(vocab_size, 10, embedding_dim, layers)


BOTH, HARD = "bidirectional", "hard_sigmoid"
#: One model of each kind, of two layers or more, with widths that are no multiples of anything.
KINDS = {
    "stacked": ModelConfig.stacked(20, 10, 7, 2, 4),
    "widths": _model(LayerConfig(7), LayerConfig(3), LayerConfig(5)),
    "one-hot": _model(LayerConfig(7), LayerConfig(3), embedding_dim=None),
    "one-hot-large": _model(LayerConfig(2, "gru", BOTH), LayerConfig(3), embedding_dim=None, vocab_size=60),
    "gru": _model(LayerConfig(5, "gru"), LayerConfig(5, "gru")),
    "gru-before": _model(LayerConfig(5, "gru", reset="before"), LayerConfig(6, "gru", reset="before")),
    "projection": _model(LayerConfig(7, projection=3), LayerConfig(3, projection=5)),
    "residual": _model(LayerConfig(4, residual=True), LayerConfig(4, "gru", residual=True)),
    "backward": _model(LayerConfig(5, direction="backward"), LayerConfig(3, "gru", "backward")),
    "bidirectional": _model(LayerConfig(5, direction=BOTH), LayerConfig(3, direction=BOTH)),
    "bidirectional-gru": _model(LayerConfig(5, "gru", BOTH), LayerConfig(3, "gru", BOTH, reset="before")),
    "hard": _model(LayerConfig(5, gates=HARD), LayerConfig(6, "gru", gates=HARD)),
    "hard-keras3": _model(LayerConfig(5, direction=BOTH, gates=f"{HARD}_keras3"), LayerConfig(3)),
    "first-states": _model(
        LayerConfig(5, direction=BOTH, projection=3, first_state=True),
        LayerConfig(4, "gru", first_state=True),
        LayerConfig(3, "gru", "backward", reset="before", first_state=True),
    ),
    "multiplicative": _model(LayerConfig(5, "mlstm"), LayerConfig(6, "mlstm", BOTH, first_state=True)),
    "multiplicative-one-hot": _model(LayerConfig(2, "mlstm", BOTH), embedding_dim=None, vocab_size=60),
    "clipped": _model(
        LayerConfig(5, projection=3, cell_clip=0.2, projection_clip=0.1),
        LayerConfig(4, gates=HARD, cell_clip=0.3),
        LayerConfig(4, "mlstm", cell_clip=0.1, residual=True),
    ),
    "normed": _model(
        LayerConfig(5, norm="carried", epsilon=0.01),
        LayerConfig(6, direction=BOTH, norm="output", epsilon=0.01, first_state=True),
    ),
    "normed-one-hot": _model(LayerConfig(2, norm="output", epsilon=0.01), embedding_dim=None, vocab_size=60),
    "maps": _model(
        LayerConfig(5),
        MapConfig(6, activation="relu"),
        LayerConfig(4, direction="backward"),
        MapConfig(4, "layer_norm", "tanh", epsilon=0.01),
        MapConfig(4, "scale", residual=True, span=2),
    ),
    "maps-bidirectional": _model(
        LayerConfig(5, direction=BOTH),
        MapConfig(10, "layer_norm", epsilon=0.01),
        LayerConfig(5, direction=BOTH, residual=True, span=2),
        MapConfig(3, activation="sigmoid"),
        MapConfig(10, residual=True, span=2),
        LayerConfig(3),
    ),
    "everything": _model(
        LayerConfig(6, direction=BOTH, projection=2, residual=True),
        LayerConfig(4, "gru", residual=True),
        LayerConfig(3, direction="backward", first_state=True),
        LayerConfig(6, projection=3, residual=True),
    ),
}
