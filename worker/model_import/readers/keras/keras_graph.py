"""Keras's configuration of a model, of any version, as one flat graph; nothing of it is built or run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import check_calls, check_count

MODELS = ("Sequential", "Functional", "Model")
_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one layer.

    Attributes:
        name: unique: the layer's path, with #1, #2, … from its second call on.
        layer: the layer's path: its name, after those of the models that hold it.
        kind: the class's name.
        config: what the class was made with.
        inputs: names of the calls that it reads.
        has_state: it starts from a state that another layer gives.
    """

    name: str
    layer: tuple[str, ...]
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    has_state: bool = False


def read_calls(model: Mapping[str, Any]) -> list[Call]:
    """Every call of a layer, models inside the model included, each after those that it reads.

    Args:
        model: {"class_name": …, "config": …}, as Keras 1 to 3 write it.

    Raises:
        ImportRefusedError: it is no Sequential or functional model.
    """
    reader = _Reader([], {})
    reader.read(model, (), [], 0)
    return reader.calls


def config_of(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """A layer's own configuration, whatever stands there."""
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def layer_configs(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The configurations of a model's layers, in its order."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config  # Keras 1, 2: Sequential's is a list
    if not isinstance(layers, list):
        return []
    check_count("the model's configuration", len(layers))
    return [layer for layer in layers if isinstance(layer, dict)]


def name_of(layer: Mapping[str, Any]) -> str:
    """A layer's name."""
    return str(layer.get("name") or config_of(layer).get("name") or layer.get("class_name"))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Collects calls.

    Attributes:
        calls: so far.
        times: how often each layer was called.
    """

    calls: list[Call]
    times: dict[tuple[str, ...], int]

    def read(self, model: Mapping[str, Any], path: tuple[str, ...], given: list[str], depth: int) -> list[str]:
        """Append a model's calls; the names of the calls that are its outputs."""
        kind = str(model.get("class_name"))
        if kind not in MODELS:
            raise ImportRefusedError(
                f"the model's class is {kind!r:.80}; Sequential and functional models can be read. For a class "
                f"of your own, "
                "save the weights alone (model.save_weights) and import those"
            )
        if depth > _DEPTH:
            raise ImportRefusedError(f"models stand over {_DEPTH} deep in each other; save the recurrent part alone")
        if kind == "Sequential":
            return self._sequential(model, path, given, depth)
        return self._functional(model, path, given, depth)

    def _sequential(self, model: Mapping[str, Any], path: tuple[str, ...], given: list[str], depth: int) -> list[str]:
        before = given
        for layer in layer_configs(model):
            if not (given and layer.get("class_name") == "InputLayer"):
                before = self._call(layer, (*path, name_of(layer)), before, depth, has_state=False)
        return before

    def _functional(self, model: Mapping[str, Any], path: tuple[str, ...], given: list[str], depth: int) -> list[str]:
        outputs: dict[tuple[str, int], list[str]] = {}
        if given:
            inputs = _tensors(config_of(model).get("input_layers"))
            outputs |= {(tensor.layer, 0): [source] for tensor, source in zip(inputs, given, strict=False)}
        waiting = [(layer, number, node) for layer in layer_configs(model) for number, node in enumerate(_nodes(layer))]
        check_calls(len(waiting) + len(self.calls))
        while waiting:
            left = []
            for layer, number, node in waiting:
                name, read = name_of(layer), list(_tensors(_arguments(node)))
                if (name, number) in outputs:
                    continue
                if not all((tensor.layer, tensor.call) in outputs for tensor in read):
                    left.append((layer, number, node))
                    continue
                sources = [_output(outputs, tensor) for tensor in read]
                given_state = any(True for _ in _tensors(_keywords(node).get("initial_state")))
                has_state = given_state or (len(sources) > 1 and _is_recurrent(layer))
                outputs[name, number] = self._call(layer, (*path, name), sources, depth, has_state=has_state)
            if len(left) == len(waiting):
                raise ImportRefusedError(
                    "the model's graph reads layers that it doesn't have; get a fresh copy of the file"
                )
            waiting = left
        ends = list(_tensors(config_of(model).get("output_layers")))
        return [_output(outputs, tensor) for tensor in ends if (tensor.layer, tensor.call) in outputs]

    def _call(
        self, layer: Mapping[str, Any], path: tuple[str, ...], sources: list[str], depth: int, *, has_state: bool
    ) -> list[str]:
        if layer.get("class_name") in MODELS:
            return self.read(layer, path, sources, depth + 1)
        again = self.times[path] = self.times.get(path, -1) + 1
        name = "/".join(path) + (f"#{again}" if again else "")
        kind = str(layer.get("class_name"))
        self.calls.append(Call(name, path, kind, config_of(layer), tuple(sources), has_state))
        check_calls(len(self.calls))
        return [name]


def _output(outputs: Mapping[tuple[str, int], list[str]], tensor: "_Tensor") -> str:
    """The call that a tensor comes from; a second output is a state, which no call is named after."""
    if tensor.output < 0:
        raise ImportRefusedError(
            f"the model's graph reads output {tensor.output} of layer {tensor.layer!r}, and they count from 0; "
            "get a fresh copy of the file"
        )
    made = outputs[tensor.layer, tensor.call]
    return made[tensor.output] if tensor.output < len(made) else f"state {tensor.output} of {tensor.layer}"


def _is_recurrent(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("class_name"))
    return kind == "Bidirectional" or kind.endswith(("LSTM", "GRU", "RNN"))


def _nodes(layer: Mapping[str, Any]) -> list[Any]:
    """A layer's calls; an InputLayer has one that reads nothing."""
    nodes = layer.get("inbound_nodes")
    return nodes if isinstance(nodes, list) and nodes else [[]]


def _arguments(node: Any) -> Any:
    """What a call reads. Keras 3 tells arguments and keywords apart; Keras 2's operators have a tensor in "y"."""
    if isinstance(node, dict):
        keywords = {name: value for name, value in _keywords(node).items() if name not in _ASIDE}
        return [node.get("args"), list(keywords.values())]
    return node


#: Keywords whose tensors aren't what a layer computes with.
_ASIDE = ("mask", "initial_state", "training", "attention_mask", "query_mask", "value_mask", "key_mask")


def _keywords(node: Any) -> Mapping[str, Any]:
    if isinstance(node, dict):
        keywords = node.get("kwargs")
        return keywords if isinstance(keywords, dict) else {}
    return next((tensor.keywords for tensor in _tensors(node) if tensor.keywords), {})


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What a call reads: which output of which call of which layer, and Keras 2's keywords beside it."""

    layer: str
    call: int
    output: int
    keywords: Mapping[str, Any]


def _tensors(value: Any, depth: int = 0) -> Iterator[_Tensor]:
    """Every tensor in a nested value."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            value = config_of(value).get("keras_history")
        else:
            value = list(value.values())
    if not isinstance(value, list):
        return
    if len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int and type(value[2]) is int:
        keywords = value[3] if len(value) == 4 and isinstance(value[3], dict) else {}
        yield _Tensor(value[0], value[1], value[2], keywords)
        yield from _tensors([part for name, part in keywords.items() if name not in _ASIDE], depth + 1)
        return
    for part in value:
        yield from _tensors(part, depth + 1)
