"""The calls of layers in a Keras model's configuration, as one flat graph; no layer is built or run."""

# Over 150 lines: one reader, whose methods call each other for models within models.

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import check_calls
from worker.model_import.readers.keras.configuration import (
    MODELS,
    config_of,
    is_operation,
    kind_of,
    layer_configs,
    name_of,
)
from worker.model_import.readers.keras.tensors import (
    Tensor,
    arguments_of,
    numbers_in,
    operands_in,
    tensors_in,
    tensors_read,
)

_DEPTH = 16
#: The kind of a call that only gives a mask to its input.
MASK = " (mask)"
#: What the name of a call's second or third output ends in.
STATE = " (last state)"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one layer.

    Attributes:
        name: unique: the layer's path, with #1, #2, … from its second call on.
        layer: the layer's path: its name, after those of the models that contain it.
        kind: the name of its class.
        config: the arguments of its class.
        inputs: names of the calls whose outputs it reads.
        has_state: whether it starts from another layer's state.
        starts: names of the calls whose outputs these states are, in their order.
        masks: names of the calls that compute a mask that it is given; of a model within the model, a call of the kind
            MASK is given them.
        numbers: the numbers among its arguments.
        operands: if it is an operation with a constant: its arguments in their order, None for a tensor.
        is_operation: whether it is an operation and not a layer. Operations pass no mask on.
        arguments: of a layer, its other arguments by name.
    """

    name: str
    layer: tuple[str, ...]
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    has_state: bool = False
    masks: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    operands: tuple[NDArray[np.float64] | None, ...] = ()
    is_operation: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[str, ...] = ()


def read_calls(model: Mapping[str, Any]) -> list[Call]:
    """All calls of layers, also in models within the model; each follows the calls that it reads.

    Args:
        model: {"class_name": …, "config": …}, as Keras 1 to 3 write it.

    Raises:
        ImportRefusedError: it is neither a Sequential nor a functional model, or its graph is incomplete or too large.
    """
    reader = _Reader()
    reader.read(model, (), [], 0)
    return reader.calls


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call of a functional model that waits for the calls that it reads."""

    layer: Mapping[str, Any]
    node: Any
    read: tuple[Tensor, ...]


class _Reader:
    """Collects calls.

    Attributes:
        calls: the calls so far.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._times: dict[tuple[str, ...], int] = {}  # how often each layer was called before its last call
        self._count = 0  # calls of models too: they can multiply without any layer in them

    def read(self, model: Mapping[str, Any], path: tuple[str, ...], given: list[str], depth: int) -> list[str]:
        """Append the calls of a model; returns the names of the calls that are its outputs."""
        kind = kind_of(model)
        if kind not in MODELS:
            raise ImportRefusedError(
                f"the model's class is {kind!r:.80}; Sequential and functional models can be read. For a class of "
                "your own, save only the weights (model.save_weights) and import those"
            )
        if depth > _DEPTH:
            raise ImportRefusedError(f"models are nested more than {_DEPTH} deep; save the recurrent part alone")
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
            inputs = tensors_in(config_of(model).get("input_layers"))
            outputs |= {(tensor.layer, 0): [source] for tensor, source in zip(inputs, given, strict=False)}
        calls: dict[tuple[str, int], _Waiting] = {}
        for layer in layer_configs(model):
            for number, node in enumerate(_nodes(layer)):
                calls.setdefault((name_of(layer), number), _Waiting(layer, node, tuple(tensors_read(node))))
        check_calls(self._count + len(calls))
        for key in _in_order(calls, outputs):
            outputs[key] = self._read_call(calls[key], (*path, key[0]), outputs, depth)
        ends = list(tensors_in(config_of(model).get("output_layers")))
        return [_output(outputs, tensor) for tensor in ends if (tensor.layer, tensor.call) in outputs]

    def _read_call(
        self, call: _Waiting, path: tuple[str, ...], outputs: Mapping[tuple[str, int], list[str]], depth: int
    ) -> list[str]:
        """Append a call whose inputs have been read; returns the names of its outputs."""
        sources = [_output(outputs, tensor) for tensor in call.read]
        arguments = arguments_of(call.node)
        given_state = any(True for _ in tensors_in(arguments.get("initial_state")))
        first = [_first_argument(call.node)]  # Keras 1 and 2 may put states into a list with the vectors
        has_state = given_state or (_is_recurrent(call.layer) and len(list(tensors_in(first))) > 1)
        masks = tuple("/".join((*path[:-1], one.layer)) for one in tensors_in([arguments.get("mask")]))
        is_model = kind_of(call.layer) in MODELS
        if is_model:  # which passes them on to its layers
            arguments = {name: value for name, value in arguments.items() if not any(True for _ in tensors_in([value]))}
            sources = self._with_masks(path, sources, masks)
        count = len(self.calls)
        made = self._call(call.layer, path, sources, depth, has_state=has_state)
        if has_state and self.calls and made == [self.calls[-1].name]:
            states = [] if not given_state else list(tensors_in(arguments.get("initial_state")))
            starts = tuple(_name_of(outputs, tensor, path) for tensor in states) or tuple(sources[1:])
            self.calls[-1] = replace(self.calls[-1], starts=starts)
        for number in range(count, len(self.calls)):
            one = self.calls[number]
            self.calls[number] = replace(one, arguments={**arguments, **one.arguments})
        if not is_model and self.calls and made == [self.calls[-1].name]:
            self.calls[-1] = replace(
                self.calls[-1],
                masks=masks,
                numbers=tuple(numbers_in(call.node)),
                operands=tuple(operands_in(call.node)),
            )
        return made

    def _with_masks(self, path: tuple[str, ...], sources: list[str], masks: tuple[str, ...]) -> list[str]:
        """Append a call that gives a mask to the input of a model within the model; returns the names to read."""
        if len(sources) != 1 or len(masks) != 1:
            return sources
        name = f"{'/'.join(path)}#{len(self.calls)}{MASK}"
        self.calls.append(Call(name, (*path, MASK), MASK, {}, tuple(sources), masks=masks))
        return [name]

    def _call(
        self,
        layer: Mapping[str, Any],
        path: tuple[str, ...],
        sources: list[str],
        depth: int,
        *,
        has_state: bool,
    ) -> list[str]:
        self._count += 1
        check_calls(self._count)
        if kind_of(layer) in MODELS:
            return self.read(layer, path, sources, depth + 1)
        again = self._times[path] = self._times.get(path, -1) + 1
        name = "/".join(path) + (f"#{again}" if again else "")
        found = (kind_of(layer), config_of(layer), tuple(sources), has_state)
        self.calls.append(Call(name, path, *found, is_operation=is_operation(layer)))
        return [name]


def _in_order(
    calls: Mapping[tuple[str, int], _Waiting], given: Mapping[tuple[str, int], list[str]]
) -> Iterator[tuple[str, int]]:
    """The calls that aren't given, each after those that it reads.

    Raises:
        ImportRefusedError: a call reads one that isn't there, or calls read each other.
    """
    missing = {
        key: {(tensor.layer, tensor.call) for tensor in call.read} - given.keys()
        for key, call in calls.items()
        if key not in given
    }
    readers: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for key, needed in missing.items():
        for one in needed:
            readers.setdefault(one, []).append(key)
    ready = deque(key for key, needed in missing.items() if not needed)
    count = 0
    while ready:
        key = ready.popleft()
        count += 1
        yield key
        for reader in readers.get(key, ()):
            missing[reader].discard(key)
            if not missing[reader]:
                ready.append(reader)
    if count < len(missing):
        raise ImportRefusedError("the model's graph reads layers that it doesn't have; get a fresh copy of the file")


def _output(outputs: Mapping[tuple[str, int], list[str]], tensor: Tensor) -> str:
    """The name of the call that computes a tensor. A second output is a state, and no call has its name."""
    if tensor.output < 0:
        raise ImportRefusedError(
            f"the model's graph reads output {tensor.output} of layer {tensor.layer!r}, but outputs count from 0; "
            "get a fresh copy of the file"
        )
    made = outputs[tensor.layer, tensor.call]
    return made[tensor.output] if tensor.output < len(made) else f"{made[0] if made else tensor.layer}{STATE}"


def _name_of(outputs: Mapping[tuple[str, int], list[str]], tensor: Tensor, path: tuple[str, ...]) -> str:
    """The name of a tensor that a call starts from, whose own call may be read later."""
    if (tensor.layer, tensor.call) in outputs:
        return _output(outputs, tensor)
    return "/".join((*path[:-1], tensor.layer)) + (STATE if tensor.output else "")


def _first_argument(node: Any) -> Any:
    """The first argument of a call; in Keras 1 and 2, all tensors that it reads."""
    if not isinstance(node, dict):
        return node
    given = node.get("args")
    return given[0] if isinstance(given, list) and given else None


def _is_recurrent(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("class_name"))
    return kind == "Bidirectional" or kind.endswith(("LSTM", "GRU", "RNN"))


def _nodes(layer: Mapping[str, Any]) -> list[Any]:
    """A layer's calls; an InputLayer has one that reads nothing."""
    nodes = layer.get("inbound_nodes")
    return nodes if isinstance(nodes, list) and nodes else [[]]
