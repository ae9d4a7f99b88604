"""Other libraries' LSTMs behind one call: a batch of padded ids in, the last layer's states out.

Each takes float32 weights in Keras's layout. Rows are padded on the right, where padding can't reach a real
token's state, so none of them needs a mask; what they compute there is thrown away.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.model_directory import ModelConfig, ModelDirectory

Weights = Mapping[str, NDArray[np.float32]]
# (ids (batch, time), lengths (batch,)) -> states, in whatever array and type the library has
Run = Callable[[NDArray[np.int64], NDArray[np.int64]], Any]


def torch_lstm(config: ModelConfig, weights: Weights, threads: int, *, bfloat16: bool, packed: bool) -> Run:
    """`torch.nn.LSTM`, on padded or on packed rows."""
    import torch  # noqa: PLC0415 (each peer is optional)

    torch.set_num_threads(threads)
    lstm = torch.nn.LSTM(config.embedding_dim, config.num_lstm_units, config.num_lstm_layers)
    with torch.no_grad():
        for layer in range(config.num_lstm_layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            w_ih, w_hh, b_ih, b_hh = (getattr(lstm, f"{name}_l{layer}") for name in names)
            w_ih.copy_(torch.from_numpy(weights[f"lstm.{layer}.kernel"].T.copy()))
            w_hh.copy_(torch.from_numpy(weights[f"lstm.{layer}.recurrent_kernel"].T.copy()))
            b_ih.copy_(torch.from_numpy(weights[f"lstm.{layer}.bias"].copy()))
            b_hh.zero_()
    embedding = torch.from_numpy(weights["embedding"].copy())
    if bfloat16:
        lstm, embedding = lstm.to(torch.bfloat16), embedding.to(torch.bfloat16)
    lstm.eval()

    def run(ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> Any:
        with torch.inference_mode():
            inputs = embedding[torch.from_numpy(ids.T.copy())]  # (time, batch, embedding)
            if packed:
                inputs = torch.nn.utils.rnn.pack_padded_sequence(inputs, torch.from_numpy(lengths))
            return lstm(inputs)[0]

    return run


def _onnx_model(config: ModelConfig, weights: Weights) -> bytes:
    """A graph of Gather and LSTM nodes, ids (time, batch) -> states (time, 1, batch, units)."""
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    units = config.num_lstm_units

    def gates_iofc(array: NDArray[np.float32]) -> NDArray[np.float32]:
        i, f, c, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1)

    constants = {"embedding": weights["embedding"], "one": np.array([1], np.int64)}
    nodes = [helper.make_node("Gather", ["embedding", "ids"], ["x0"])]
    for layer in range(config.num_lstm_layers):
        bias = gates_iofc(weights[f"lstm.{layer}.bias"])
        constants[f"W{layer}"] = gates_iofc(weights[f"lstm.{layer}.kernel"]).T[None].copy()
        constants[f"R{layer}"] = gates_iofc(weights[f"lstm.{layer}.recurrent_kernel"]).T[None].copy()
        constants[f"B{layer}"] = np.concatenate([bias, np.zeros_like(bias)])[None]
        names = [f"{name}{layer}" for name in "xWRB"]
        nodes.append(helper.make_node("LSTM", names, [f"y{layer}"], hidden_size=units))
        nodes.append(helper.make_node("Squeeze", [f"y{layer}", "one"], [f"x{layer + 1}"]))
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["time", "batch"])],
        [helper.make_tensor_value_info(f"x{config.num_lstm_layers}", TensorProto.FLOAT, ["time", "batch", units])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def onnxruntime_lstm(config: ModelConfig, weights: Weights, threads: int) -> Run:
    """ONNX Runtime's CPU provider."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_onnx_model(config, weights), options, providers=["CPUExecutionProvider"])
    return lambda ids, _: session.run(None, {"ids": ids.T.copy()})[0]


def openvino_lstm(config: ModelConfig, weights: Weights, threads: int, *, bfloat16: bool) -> Run:
    """OpenVINO's CPU plugin, of the same graph."""
    import openvino  # noqa: PLC0415

    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(_onnx_model(config, weights)),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": str(threads),
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    request = compiled.create_infer_request()
    return lambda ids, _: request.infer([ids.T.copy()])[0]


def keras_rnn(model: ModelDirectory, threads: int) -> Run:
    """The brief's own way: `LanguageModel.run_lstm` on padded rows."""
    import tensorflow as tf  # noqa: PLC0415

    from worker.model import LanguageModel  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    language_model = LanguageModel.from_directory(model)
    run = tf.function(
        lambda ids: language_model.run_lstm(ids, is_training=False)[0],
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )
    return lambda ids, _: run(ids.astype(np.int32)).numpy()


def peers(model: ModelDirectory, threads: int) -> Iterator[tuple[str, str, Callable[[], Run]]]:
    """Every peer's name, precision and maker; a maker raises ImportError where the library isn't there."""
    config, weights = model.config, model.weights()
    for bfloat16 in (False, True):
        precision = "bfloat16" if bfloat16 else "float32"
        for packed in (False, True):
            yield (
                f"PyTorch {'packed' if packed else 'padded'}",
                precision,
                partial(torch_lstm, config, weights, threads, bfloat16=bfloat16, packed=packed),
            )
        yield "OpenVINO", precision, partial(openvino_lstm, config, weights, threads, bfloat16=bfloat16)
    yield "ONNX Runtime", "float32", partial(onnxruntime_lstm, config, weights, threads)
    yield "brief's padded RNN", "float32", partial(keras_rnn, model, threads)
