"""One recurrent layer of a model: its configuration, and the shapes of its tensors.

Notation: D the layer's input width, U its units, S the width of its state.
"""

# Over 150 lines: the description of every field, its check and its words.

from dataclasses import dataclass

from unrolled.errors import ModelError
from unrolled.model.checks import LARGEST_WIDTH, check_choice, check_epsilon, check_number, check_residual
from unrolled.model.token_map import describe_residual

KINDS = ("lstm", "gru", "mlstm")
DIRECTIONS = ("forward", "backward", "bidirectional")
RESETS = ("after", "before")
#: Slopes of the hard sigmoids, clip(slope x + 1/2, 0, 1): that of Keras 1 and 2 and ONNX, and that of Keras 3, which is
#: relu6(x + 3) / 6.
HARD_SLOPES = {"hard_sigmoid": 1 / 5, "hard_sigmoid_keras3": 1 / 6}
GATES = ("sigmoid", *HARD_SLOPES)
#: What an option may call the hard sigmoid of Keras 1 and 2, where "hard_sigmoid" alone could mean either.
KERAS_2 = "hard_sigmoid_keras2"
NORMS = ("carried", "output")
#: A larger bound of a state clips nothing.
LARGEST_CLIP = 1e9


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """One recurrent layer; all activations except those of its gates are tanh.

    Attributes:
        units: width of the cell.
        kind: "lstm"; "gru"; or "mlstm", the multiplicative LSTM of Krause et al. 2016, whose gates read the product of
            two factors, one of the input and one of the state, in place of the state.
        direction: "forward", "backward" (a row's real tokens from last to first; output t is the state after
            tokens T-1..t) or "bidirectional" (both, concatenated in this order).
        projection: width that an LSTM's state is projected to (LSTMP), or None for no projection.
        residual: whether the layer's input, or the output of another layer below, is added to its output; both must
            have the same width.
        reset: where a GRU's reset gate acts: "after" the recurrent product (Keras, PyTorch, cuDNN) or "before"
            it. None for an LSTM; None becomes "after" for a GRU.
        gates: activation of the gates, Keras's recurrent_activation: "sigmoid"; "hard_sigmoid", which is
            clip(x / 5 + 1/2, 0, 1) as in Keras 1 and 2 and ONNX; or "hard_sigmoid_keras3", clip(x / 6 + 1/2, 0, 1).
        first_state: whether the model has numbers of its own for the state before a row's first token (before its last
            one for a pass that reads backward); otherwise that state is zero.
        given_state: whether each row brings that state, as a decoder gets it from an encoder: its h and, of a layer
            with a cell, its c.
        cell_clip: the largest magnitude of an LSTM's cell state, to which it is clipped before the hidden state is
            computed from it (TensorFlow's cell_clip); None for no limit.
        projection_clip: and of a projected state (TensorFlow's proj_clip).
        norm: whether an LSTM is layer-normalized: its product with the input and its product with the state, each over
            all four gates, and its cell state. "carried": the next step reads the normalized cell state (TensorFlow
            Addons and PyTorch's examples); "output": only the hidden state is computed from it. None for no norms.
        epsilon: what the norms add to variances, a number above 0; None without norms.
        span: how many layers a residual's sum spans: 1 adds the layer's own input, 2 the input of the layer below, and
            so on.

    Raises:
        ModelError: a value is not allowed, or two of them contradict each other.
    """

    units: int
    kind: str = "lstm"
    direction: str = "forward"
    projection: int | None = None
    residual: bool = False
    reset: str | None = None
    gates: str = "sigmoid"
    first_state: bool = False
    given_state: bool = False
    cell_clip: float | None = None
    projection_clip: float | None = None
    norm: str | None = None
    epsilon: float | None = None
    span: int = 1

    def __post_init__(self) -> None:
        check_number("layer", "units", self.units, LARGEST_WIDTH)
        check_choice("kind", self.kind, KINDS)
        check_choice("direction", self.direction, DIRECTIONS)
        check_choice("gates", self.gates, GATES)
        check_residual(self.residual, self.span)
        for name in ("first_state", "given_state"):
            if type(getattr(self, name)) is not bool:
                raise ModelError(f"layer: {name} is {getattr(self, name)!r:.80}; give true or false")
        if self.first_state and self.given_state:
            raise ModelError("layer: first_state and given_state are true, but a row begins with one state; set one")
        if self.projection is not None:
            check_number("layer", "projection", self.projection, LARGEST_WIDTH)
            if self.kind != "lstm":
                raise ModelError(f"layer: projection is {self.projection}, but only an lstm has one; give null")
        self._check_clips()
        self._check_norm()
        if self.kind == "gru":
            object.__setattr__(self, "reset", "after" if self.reset is None else self.reset)
            check_choice("reset", self.reset, RESETS)
        elif self.reset is not None:
            raise ModelError(f"layer: reset is {self.reset!r:.80}, but only a gru has one; give null")

    def _check_clips(self) -> None:
        for name, has, lacking in (
            ("cell_clip", self.has_cell, f"a {self.kind} has no cell state"),
            ("projection_clip", self.projection is not None, "no projection is given"),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            if type(value) not in (int, float) or not (0 < value < LARGEST_CLIP):
                raise ModelError(f"layer: {name} is {value!r:.80}; give a number above 0 and below {LARGEST_CLIP:g}")
            if not has:
                raise ModelError(f"layer: {name} is {value}, but {lacking}; leave it out")
            object.__setattr__(self, name, float(value))

    def _check_norm(self) -> None:
        if self.norm is None:
            if self.epsilon is not None:
                raise ModelError(f"layer: epsilon is {self.epsilon!r:.80}, but no norm is given; leave it out")
            return
        check_choice("norm", self.norm, NORMS)
        plain = self.projection is None and self.cell_clip is None and self.gates == "sigmoid"
        if self.kind != "lstm" or not plain:
            raise ModelError(
                f"layer: norm is {self.norm!r}, but only an lstm with sigmoid gates, without projection and clips, has "
                "norms; leave it out"
            )
        object.__setattr__(self, "epsilon", check_epsilon(self.epsilon))

    @property
    def state_dim(self) -> int:
        """S, the width of the state that one step passes to the next."""
        return self.units if self.projection is None else self.projection

    @property
    def has_cell(self) -> bool:
        """Whether a cell state is passed from step to step beside the state."""
        return self.kind != "gru"

    @property
    def state_dims(self) -> tuple[int, ...]:
        """Widths of all that one step passes to the next: of h, and of c in a layer with a cell."""
        return (self.state_dim, self.units) if self.has_cell else (self.state_dim,)

    @property
    def output_dim(self) -> int:
        """Width of the layer's output: both directions side by side."""
        return self.state_dim * (2 if self.direction == "bidirectional" else 1)

    def prefixes(self, number: int) -> tuple[str, ...]:
        """How the names of the tensors of layer `number` begin, for each direction, forward first."""
        both = {"forward": f"{self.kind}.{number}", "backward": f"{self.kind}.{number}.backward"}
        return tuple(both.values()) if self.direction == "bidirectional" else (both[self.direction],)

    def shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors of one direction, by the last part of their names, for inputs of this width (D)."""
        gates = (3 if self.kind == "gru" else 4) * self.units
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (inputs, gates),
            "recurrent_kernel": (self.state_dim, gates),
            "bias": (2, gates) if self.reset == "after" else (gates,),
        }
        if self.projection is not None:
            shapes["projection"] = (self.units, self.projection)
        if self.kind == "mlstm":
            shapes |= {"input_factor": (inputs, self.units), "state_factor": (self.units, self.units)}
        if self.norm is not None:
            shapes |= {"input_shift": (gates,), "input_gain": (gates,), "state_shift": (gates,), "state_gain": (gates,)}
            shapes |= {"cell_gain": (self.units,), "cell_bias": (self.units,)}
        return shapes | self.first_shapes()

    def first_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of those of the tensors that are the state before a row's first token; empty if it is zero."""
        if not self.first_state:
            return {}
        cell = {"first_cell": (self.units,)} if self.has_cell else {}
        return {"first_state": (self.state_dim,), **cell}

    def __str__(self) -> str:
        """For people: "lstm 512", "bidirectional lstm 512 projected to 128 + its input", "gru 64 (reset before)"."""
        words = [
            *(["reset before"] if self.reset == "before" else []),
            *([self.gates.replace("_", " ")] if self.gates != "sigmoid" else []),
            *(["layer norm"] if self.norm == "carried" else ["layer norm of outputs"] if self.norm else []),
            *(["initial state of its own"] if self.first_state else []),
            *(["initial state from the row"] if self.given_state else []),
            *([f"cell clipped to {self.cell_clip:g}"] if self.cell_clip else []),
            *([f"projection clipped to {self.projection_clip:g}"] if self.projection_clip else []),
        ]
        return (
            ("" if self.direction == "forward" else f"{self.direction} ")
            + f"{self.kind} {self.units}"
            + (f" projected to {self.projection}" if self.projection else "")
            + (f" ({', '.join(words)})" if words else "")
            + describe_residual(self.residual, self.span)
        )
