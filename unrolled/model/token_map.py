"""One layer that changes each token's vector alone: its configuration, and the shapes of its tensors.

Such layers, maps for short, are above a recurrent layer. They have no state and read in no direction.
"""

from dataclasses import dataclass

from unrolled.errors import ModelError
from unrolled.model.checks import LARGEST_WIDTH, check_choice, check_epsilon, check_number, check_residual

MAP_KINDS = ("dense", "layer_norm", "scale")
ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid")


@dataclass(frozen=True, slots=True)
class MapConfig:
    """A layer of which each output depends on one token's vector alone.

    Attributes:
        units: width of the output. For a layer_norm and a scale it is the width of the input, too.
        kind: "dense", the product with a matrix, plus a bias; "layer_norm", (x - mean) / sqrt(variance + epsilon) over
            the numbers of a vector, times a gain, plus a bias; or "scale", times a gain, plus a bias (a trained
            BatchNorm).
        activation: the function of the result: "linear", "tanh", "relu" or "sigmoid".
        epsilon: of a layer_norm, a number above 0; None for the others.
        residual: whether the output of a layer below is added to the result.
        span: how many layers such a sum spans: 1 adds the layer's own input, 2 the input of the layer below, and so on.

    Raises:
        ModelError: a value is not allowed, or two of them contradict each other.
    """

    units: int
    kind: str = "dense"
    activation: str = "linear"
    epsilon: float | None = None
    residual: bool = False
    span: int = 1

    def __post_init__(self) -> None:
        check_number("layer", "units", self.units, LARGEST_WIDTH)
        check_choice("kind", self.kind, MAP_KINDS)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_residual(self.residual, self.span)
        if self.kind != "layer_norm":
            if self.epsilon is not None:
                raise ModelError(f"layer: epsilon is {self.epsilon!r:.80}, but only a layer_norm has one; leave it out")
            return
        object.__setattr__(self, "epsilon", check_epsilon(self.epsilon))

    @property
    def output_dim(self) -> int:
        """Width of the layer's output."""
        return self.units

    @property
    def keeps_width(self) -> bool:
        """Whether its output must be as wide as its input."""
        return self.kind != "dense"

    def prefixes(self, number: int) -> tuple[str, ...]:
        """How the names of the tensors of layer `number` begin."""
        return (f"{self.kind}.{number}",)

    def shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its tensors, by the last part of their names, for inputs of this width (D)."""
        first = {"kernel": (inputs, self.units)} if self.kind == "dense" else {"gain": (self.units,)}
        return {**first, "bias": (self.units,)}

    def __str__(self) -> str:
        activation = f" ({self.activation})" if self.activation != "linear" else ""
        return f"{self.kind.replace('_', ' ')} {self.units}{activation}{describe_residual(self.residual, self.span)}"


def describe_residual(residual: bool, span: int) -> str:
    """What a layer's description says of a sum: "", " + its input" or " + the input 2 layers below"."""
    if not residual:
        return ""
    return " + its input" if span == 1 else f" + the output {span} layers below"
