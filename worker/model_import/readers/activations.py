"""Which activations of a recurrent layer can be imported, and what the frameworks' names for them mean."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from unrolled.model.layer import KERAS_2
from worker.model_import.found import Layer

PEEPHOLES = "it has peepholes (the gates read the cell's state); only LSTMs without them can be imported"


def activation_problem(state: Any, gates: Any) -> str | None:
    """The reason why a layer with these activations can't be imported, or None.

    Args:
        state: the activation of candidate and state: a name, or a Keras configuration.
        gates: the activation of the gates; the caller has already replaced a known hard_sigmoid by "sigmoid".
    """
    for found, allowed, what in ((state, "tanh", "activation"), (gates, "sigmoid", "recurrent_activation")):
        name = _name_of(found) if isinstance(found, Mapping) else found
        if name != allowed:
            own = " (a function of the model's own)" if isinstance(found, Mapping) and name == "hard_sigmoid" else ""
            more = " and hard_sigmoid" if allowed == "sigmoid" else ""
            return (
                f"its {what} is {name!r:.60}{own}; {allowed}{more} can be imported. "
                f"Train or fine-tune it with {what}='{allowed}'"
            )
    return None


def _name_of(configuration: Mapping[str, Any]) -> Any:
    inner = configuration.get("config")
    return (inner.get("name") if isinstance(inner, Mapping) else None) or inner


def hard_gates(version: str) -> str:
    """The function that a version of Keras ("1", "2.2.4-tf") calls hard_sigmoid: Keras 3's has another slope."""
    number = version.partition(".")[0]
    return "hard_sigmoid_keras3" if number.isdecimal() and int(number) > 2 else "hard_sigmoid"


def set_gates(layers: Iterable[Layer], gates: str) -> str:
    """Set the activation of the gates that the user says; returns a note about it."""
    own = "hard_sigmoid" if gates == KERAS_2 else gates
    for layer in layers:
        layer.forward = layer.forward and replace(layer.forward, gates=own)
        layer.backward = layer.backward and replace(layer.backward, gates=own)
    return f"activations tanh and {gates} (as you said)"
