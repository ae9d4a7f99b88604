"""The functions that TensorFlow traces: the whole stack of layers over a batch, and a single pass.

Batch and time are unknown to a trace, so it is used for every shape. A backward pass gets each row's tokens reversed,
with the padding still to their right. So there is no mask, and no masked row that cuDNN could refuse.

It is one file because every function here becomes part of one traced graph.
"""

# Over 150 lines: the layers in the order in which they compute.

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.model.config import ModelConfig
from unrolled.model.token_map import MapConfig
from worker.engines.tensorflow.layers import Pass, Weights, build_passes
from worker.models.tensorflow import tf
from worker.models.token_maps import token_map


class Stack:
    """A model's layers on the present device.

    Attributes:
        state_dims: widths of all states, in the order in which `run` takes and gives them.
        first_states: for each of them float32 (dim,), before a row's first token; zeros if rows bring it.

    Args:
        config: the model's configuration.
        weights: its tensors, by name.
        cudnn: whether cuDNN computes the layers that it can.
    """

    def __init__(self, config: ModelConfig, weights: Weights, *, cudnn: bool) -> None:
        self._config = config
        self._lookup, self._passes = build_passes(config, weights, cudnn=cudnn)
        self._tokens = tf.TensorSpec((None, None), tf.int32)  # what the first layer's inputs are looked up for
        if config.vector_dim is not None:
            self._tokens = tf.TensorSpec((None, None, config.vector_dim), tf.float32)
        self._maps = _build_maps(config, weights, at_once=cudnn)
        self.state_dims = tuple(dim for layer in self._passes for each in layer for dim in each.state_dims)
        self.first_states = [state for layer in self._passes for each in layer for state in each.first_states]
        self._stacks: dict[tuple[tuple[int, str], ...], Any] = {}
        self._alone: dict[tuple[int, int], Any] = {}

    def run(self, tokens: Any, lengths: Any, states: Sequence[Any], columns: Sequence[VectorColumn]) -> Any:
        """Compute all layers over one batch.

        Args:
            tokens: int32 (batch, time), with zeros to the right; or vectors, float32 (batch, time, D).
            lengths: int32 (batch,), the number of real tokens in each row.
            states: for each of `state_dims` float32 (batch, dim), before the first step.
            columns: what is computed.

        Returns:
            For each column float32 (batch, time, width), or (batch, width) if it is pooled ("mean" gives a sum); and
            the states after the last step, which are of use only if no layer reads backward.
        """
        return self.function(columns)(tokens, lengths, tuple(states))

    def run_pass(self, number: int, direction: int, inputs: Any, states: Sequence[Any]) -> Any:
        """Compute one pass of one layer, in the order of its inputs.

        Args:
            number: the number of the layer.
            direction: which of its passes.
            inputs: the outputs of the layer below, float32 (batch, time, D); for layer 0 ids, int32 (batch, time), or
                vectors.
            states: the states of the pass, each float32 (batch, dim).

        Returns:
            float32 (batch, time, S), and the states after the last step.
        """
        key = (number, direction)
        if key not in self._alone:
            self._alone[key] = self._trace_pass(self._passes[number][direction], number)
        return self._alone[key](inputs, tuple(states))

    def run_map(self, number: int, inputs: Any) -> Any:
        """Compute one map, without the sum of a residual map: from float32 (batch, time, D) to (batch, time, units)."""
        key = (number, 0)
        if key not in self._alone:
            width = self._config.input_dims[number]
            self._alone[key] = tf.function(
                self._maps[number],
                input_signature=[tf.TensorSpec((None, None, width), tf.float32)],
                autograph=False,
            )
        return self._alone[key](inputs)

    def begun_states(self, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All states before the first token of rows that bring those of some layers, each (rows, dim).

        Args:
            given: float32 (rows, width), the states that they bring.
        """
        passes = [(number, direction) for number, layer in enumerate(self._passes) for direction in range(len(layer))]
        return [state for each in passes for state in self.begun_states_of(*each, given)]

    def begun_states_of(self, number: int, direction: int, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The states of one pass before the first token of rows in the order of its inputs, each (rows, dim)."""
        each = self._passes[number][direction]
        if each.given_at is None:
            return [np.tile(state, (len(given), 1)) for state in each.first_states]
        edges = np.cumsum([each.given_at, *each.state_dims])
        return [np.ascontiguousarray(given[:, start:stop]) for start, stop in pairwise(edges.tolist())]

    def function(self, columns: Sequence[VectorColumn]) -> Any:
        """The traced function for these columns."""
        wanted = tuple((column.layer_of(len(self._passes)), column.pooling) for column in columns)
        if wanted not in self._stacks:
            self._stacks[wanted] = self._trace_stack(wanted)
        return self._stacks[wanted]

    @property
    def traces(self) -> int:
        """How many times TensorFlow has traced a function."""
        return sum(each.experimental_get_tracing_count() for each in (*self._stacks.values(), *self._alone.values()))

    def _trace_stack(self, wanted: tuple[tuple[int, str], ...]) -> Any:
        deepest = max(layer for layer, _ in wanted)

        @tf.function(  # type: ignore[untyped-decorator]  # TensorFlow has no types
            input_signature=[
                self._tokens,
                tf.TensorSpec((None,), tf.int32),
                tuple(tf.TensorSpec((None, dim), tf.float32) for dim in self.state_dims),
            ],
            autograph=False,  # its Python code runs while tracing, and AutoGraph can't read all of Python 3.13
        )
        def stack(tokens: Any, lengths: Any, states: Any) -> Any:
            made = [self._lookup(tokens)]  # (batch, time, D), then each layer's output
            left, after = list(states), []
            results: dict[tuple[int, str], Any] = {}
            for number, (layer, passes) in enumerate(zip(self._config.layers, self._passes, strict=True)):
                if number > deepest:
                    after += left  # no column needs these layers
                    break
                directions = [self._maps[number](made[-1])] if number in self._maps else []
                for each in passes:
                    before, left = left[: len(each.state_dims)], left[len(each.state_dims) :]
                    outputs, state = _run_pass(each, made[-1], lengths, before)
                    directions.append(outputs)
                    after += state
                outputs = tf.concat(directions, axis=2) if len(directions) > 1 else directions[0]
                sequence = outputs + made[-layer.span] if layer.residual else outputs  # (batch, time, output_dim)
                made.append(sequence)
                results |= {(n, pooling): _pooled(pooling, sequence, lengths) for n, pooling in wanted if n == number}
            return [results[each] for each in wanted], after

        return stack

    def _trace_pass(self, each: Pass, number: int) -> Any:
        inputs = (
            self._tokens if not number else tf.TensorSpec((None, None, self._config.input_dims[number]), tf.float32)
        )

        @tf.function(  # type: ignore[untyped-decorator]  # TensorFlow has no types
            input_signature=[inputs, tuple(tf.TensorSpec((None, dim), tf.float32) for dim in each.state_dims)],
            autograph=False,
        )
        def alone(inputs: Any, states: Any) -> Any:
            outputs, *after = each.layer(inputs if number else self._lookup(inputs), initial_state=list(states))
            return outputs, after

        return alone


def _build_maps(config: ModelConfig, weights: Weights, *, at_once: bool) -> dict[int, Callable[[Any], Any]]:
    """The maps by the numbers of their layers, each from (batch, time, D) to (batch, time, units)."""
    maps: dict[int, Callable[[Any], Any]] = {}
    for number, layer in enumerate(config.layers):
        if isinstance(layer, MapConfig):
            (prefix,) = layer.prefixes(number)
            function = token_map(layer, {part: weights[f"{prefix}.{part}"] for part in layer.shapes(1)})
            maps[number] = function if at_once else partial(_step_by_step, function, layer.units)
    return maps


def _step_by_step(function: Callable[[Any], Any], units: int, sequence: Any) -> Any:
    """A map, computed for one step after another, as recurrent layers are.

    One product for all steps may sum in another order in a batch of another width.
    """
    steps = tf.transpose(sequence, (1, 0, 2))  # (time, batch, D)
    made = tf.map_fn(function, steps, fn_output_signature=tf.TensorSpec((None, units), tf.float32))
    return tf.transpose(made, (1, 0, 2))


def _run_pass(each: Pass, sequence: Any, lengths: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    if not each.backward:
        outputs, *after = each.layer(sequence, initial_state=states)
        return outputs, after
    outputs, *after = each.layer(tf.reverse_sequence(sequence, lengths, seq_axis=1), initial_state=states)
    return tf.reverse_sequence(outputs, lengths, seq_axis=1), after


def _pooled(pooling: str, sequence: Any, lengths: Any) -> Any:
    """Outputs (batch, time, width), pooled over each row's real steps: (batch, width); for "mean" a sum."""
    if pooling == "none":
        return sequence
    if pooling == "first":
        return sequence[:, 0]
    if pooling == "last":
        return tf.gather(sequence, tf.maximum(lengths - 1, 0), axis=1, batch_dims=1)
    real = tf.sequence_mask(lengths, tf.shape(sequence)[1])[:, :, None]  # (batch, time, 1)
    if pooling == "max":
        return tf.reduce_max(tf.where(real, sequence, sequence.dtype.min), axis=1)
    return _tree_sum(tf.where(real, sequence, 0.0))


def _tree_sum(sequence: Any) -> Any:
    """The sum over time, from (batch, time, width) to (batch, width). Zeros that follow change no bit of it.

    Neighbours are added, then neighbours of these sums, and so on, so a row's sum has one order in any batch.
    """

    def halve(sequence: Any) -> Any:
        batch, time, width = tf.unstack(tf.shape(sequence))
        even = tf.pad(sequence, ((0, 0), (0, time % 2), (0, 0)))
        pairs = tf.reshape(even, (batch, (time + 1) // 2, 2, width))
        return (pairs[:, :, 0] + pairs[:, :, 1],)

    shape = tf.TensorShape((None, None, sequence.shape[2]))
    (summed,) = tf.while_loop(
        lambda each: tf.shape(each)[1] > 1, halve, (sequence,), shape_invariants=(shape,), parallel_iterations=1
    )
    return summed[:, 0]
