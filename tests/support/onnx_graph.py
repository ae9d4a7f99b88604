"""ONNX graphs that are put together node by node."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """A graph that is put together node by node; a node's first output is its name."""

    def __init__(self, *, shape=("batch", "time"), kind=TensorProto.INT64, opset=17):
        self.random = np.random.default_rng(5)
        self.nodes, self.tensors, self.opset, self.functions = [], {}, opset, []
        self.inputs = [helper.make_tensor_value_info("ids", kind, shape)]
        self.fixed = shape

    def add(self, operator, *inputs, outputs=1, name=None, **settings):
        name = name or f"{operator.lower()}{len(self.nodes)}"
        made = [name] if outputs == 1 else [name, *(f"{name}_{k}" for k in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), made, name=name, **settings))
        return name

    def constant(self, values, kind=np.int64):
        name = f"c{len(self.tensors)}"
        self.tensors[name] = np.asarray(values, kind)
        return name

    def integers(self, *shape, kind=np.int8, axis=None):
        """A constant of floats that are stored as integers, with one scale or one for each place along an axis."""
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        count = 1 if axis is None else shape[axis]
        scale = self.random.uniform(0.004, 0.012, count).astype(np.float32)
        names = [
            self.constant(self.random.integers(low, high + 1, shape), kind),
            self.constant(scale if axis is not None else scale[0], np.float32),
            self.constant(np.full(count, (low + high) // 2) if axis is not None else (low + high) // 2, kind),
        ]
        return self.add("DequantizeLinear", *names, **({} if axis is None else {"axis": axis}))

    def weights(self, *shape):
        return self.constant(self.random.normal(0, 0.6, shape), np.float32)

    def embed(self, ids="ids", name="words", rows=10, width=4):
        self.tensors[name] = self.random.normal(0, 0.8, (rows, width)).astype(np.float32)
        return self.add("Gather", name, ids)

    def lstm(self, x, inputs=4, units=5, *, more=(), sides=1, outputs=1, **settings):
        weights = [
            self.weights(sides, 4 * units, inputs),
            self.weights(sides, 4 * units, units),
            self.weights(sides, 8 * units),
        ]
        return self.add("LSTM", x, *weights, *more, outputs=outputs, hidden_size=units, **settings)

    def time_first(self, x):
        return self.add("Transpose", x, perm=[1, 0, 2])

    def flat(self, y):
        """From (time, 1, batch, units) to (time, batch, units)."""
        return self.add("Squeeze", y, self.constant([1]))

    def model(self, output):
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        stored = [numpy_helper.from_array(array, name) for name, array in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "crafted", self.inputs, outputs, stored)
        opsets = [helper.make_opsetid("", self.opset), *([helper.make_opsetid("own", 1)] if self.functions else [])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=self.functions)
