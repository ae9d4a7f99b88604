"""The layers that the TensorFlow engine has cuDNN compute: the traced function shows them, without a GPU."""

import importlib

import pytest
from support.model_configs import KINDS
from support.reference import random_weights

from unrolled.format.output_spec import OutputSpec
from worker.engines.tensorflow.stack import Stack


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        ("stacked", 2),
        ("gru", 2),
        ("bidirectional", 4),
        ("one-hot-large", 3),
        ("bidirectional-gru", 2),
        ("everything", 2),
        ("gru-before", 0),
        ("projection", 0),
        ("hard", 0),
        ("hard-keras3", 1),
        ("multiplicative", 0),
        ("clipped", 0),
        ("normed", 0),
        ("maps", 2),
    ],
)
def test_cudnn_gets_what_it_has(kind, passes, monkeypatch):
    """CuDNN gets LSTMs, and GRUs that reset after the product, with sigmoid gates; Keras's loop gets the others."""
    # By import_module, because its package has a function with the module's name.
    keras_rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(keras_rnn, "_is_gpu_available", lambda: True)
    config = KINDS[kind]
    stack = Stack(config, random_weights(config, 1), cudnn=True)
    graph = stack.function(OutputSpec(pooling=("none", "mean")).columns(config)).get_concrete_function().graph
    assert [operation.type for operation in graph.get_operations()].count("CudnnRNNV3") == passes


def test_a_gpu_without_cudnn_is_an_error():
    """Keras's loop on a GPU would be slow in silence."""
    config = KINDS["gru"]
    stack = Stack(config, random_weights(config, 1), cudnn=True)
    with pytest.raises(ValueError, match="cuDNN is not supported"):
        stack.function(OutputSpec().columns(config)).get_concrete_function()
