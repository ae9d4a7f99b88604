"""Other libraries' LSTMs: from a batch of padded ids to the last layer's states.

Rows are padded on the right, where padding doesn't affect the state of a real token, so no library needs a mask. The
states at padding are dropped. It is one file because all libraries get these weights in one way.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from model import LAYERS, Weights
from numpy.typing import NDArray

from unrolled.model.directory import ModelDirectory

Ids = NDArray[np.int64]


class Peer(NamedTuple):
    """A library's LSTM.

    Attributes:
        name: name of the library, and of the way in which it is used.
        arithmetic: "float32" or "bfloat16", that of the products.
        run: from ids (batch, time) and lengths (batch,), descending, to states in the library's own array.
        states: from ids and lengths to float32 (batch, time, units).
    """

    name: str
    arithmetic: str
    run: Callable[[Ids, Ids], Any]
    states: Callable[[Ids, Ids], NDArray[np.float32]]


@contextmanager
def torch_products_in_bfloat16() -> Iterator[None]:
    """PyTorch's own setting for float32 models whose products may be made of bfloat16 ones."""
    import torch  # noqa: PLC0415 - each library is optional

    before, rnn = torch.get_float32_matmul_precision(), getattr(torch.backends.mkldnn, "rnn", None)
    torch.set_float32_matmul_precision("medium")
    if hasattr(rnn, "fp32_precision"):  # PyTorch 2.9 and later
        rnn.fp32_precision = "bf16"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        if hasattr(rnn, "fp32_precision"):
            rnn.fp32_precision = "none"


def torch_lstm(model: ModelDirectory, threads: int, *, arithmetic: str, packed: bool, medium: bool = False) -> Peer:
    """`torch.nn.LSTM`, on padded or on packed rows.

    Args:
        model: the model.
        threads: the number of threads.
        arithmetic: in which the weights and states are.
        packed: whether rows are packed.
        medium: whether the products of a float32 model are made of bfloat16 ones.
    """
    # Over 40 lines: the weights, and both functions that read them.
    import torch  # noqa: PLC0415 - each library is optional

    torch.set_num_threads(threads)
    weights = {name: torch.from_numpy(array.copy()) for name, array in model.weights().items()}
    embedding, units = weights["embedding"], len(weights["lstm.0.recurrent_kernel"])
    lstm = torch.nn.LSTM(embedding.shape[1], units, LAYERS)
    with torch.no_grad():
        for layer in range(LAYERS):
            getattr(lstm, f"weight_ih_l{layer}").copy_(weights[f"lstm.{layer}.kernel"].T)
            getattr(lstm, f"weight_hh_l{layer}").copy_(weights[f"lstm.{layer}.recurrent_kernel"].T)
            getattr(lstm, f"bias_ih_l{layer}").copy_(weights[f"lstm.{layer}.bias"])
            getattr(lstm, f"bias_hh_l{layer}").zero_()
    kind = getattr(torch, arithmetic)
    lstm, embedding = lstm.to(kind).eval(), embedding.to(kind)

    def run(ids: Ids, lengths: Ids) -> Any:
        with torch.inference_mode(), torch_products_in_bfloat16() if medium else nullcontext():
            inputs = embedding[torch.from_numpy(ids.T.copy())]  # (time, batch, embedding)
            if packed:
                inputs = torch.nn.utils.rnn.pack_padded_sequence(inputs, torch.from_numpy(lengths))
            return lstm(inputs)[0]

    def states(ids: Ids, lengths: Ids) -> NDArray[np.float32]:
        found = run(ids, lengths)
        if packed:
            found = torch.nn.utils.rnn.pad_packed_sequence(found)[0]
        array: NDArray[np.float32] = found.to(torch.float32).numpy().transpose(1, 0, 2)
        return array

    name = f"PyTorch {'medium ' if medium else ''}{'packed' if packed else 'padded'}"
    return Peer(name, "bfloat16" if medium else arithmetic, run, states)


def _onnx_model(weights: Weights) -> bytes:
    """A graph of Gather and LSTM nodes, from ids (time, batch) to states (time, batch, units)."""
    import onnx  # noqa: PLC0415 - each library is optional
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - each library is optional

    units = len(weights["lstm.0.recurrent_kernel"])

    def gates_iofc(array: NDArray[np.float32]) -> NDArray[np.float32]:
        i, f, c, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1)

    constants: dict[str, NDArray[Any]] = {"embedding": weights["embedding"], "one": np.array([1], np.int64)}
    nodes = [helper.make_node("Gather", ["embedding", "ids"], ["x0"])]
    for layer in range(LAYERS):
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
        [helper.make_tensor_value_info(f"x{LAYERS}", TensorProto.FLOAT, ["time", "batch", units])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    serialized: bytes = made.SerializeToString()
    return serialized


def onnxruntime_lstm(model: ModelDirectory, threads: int) -> Peer:
    """ONNX Runtime's CPU provider."""
    import onnxruntime  # noqa: PLC0415 - each library is optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_onnx_model(model.weights()), options, providers=["CPUExecutionProvider"])

    def run(ids: Ids, _: Ids) -> Any:
        return session.run(None, {"ids": ids.T.copy()})[0]

    return Peer("ONNX Runtime", "float32", run, lambda ids, lengths: run(ids, lengths).transpose(1, 0, 2))


def openvino_lstm(model: ModelDirectory, threads: int, *, arithmetic: str) -> Peer:
    """OpenVINO's CPU plugin, with the graph that ONNX Runtime gets; in bfloat16, OpenVINO rounds the float32 model."""
    import openvino  # noqa: PLC0415 - each library is optional

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if arithmetic == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": str(threads),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(_onnx_model(model.weights())), "CPU", settings)
    request = compiled.create_infer_request()

    def run(ids: Ids, _: Ids) -> Any:
        return request.infer([ids.T.copy()], share_inputs=True, share_outputs=True)[0]

    return Peer("OpenVINO", arithmetic, run, lambda ids, lengths: run(ids, lengths).transpose(1, 0, 2).copy())


def keras_rnn(model: ModelDirectory, threads: int) -> Peer:
    """Keras's padded RNN: `LanguageModel.run_lstm` on padded rows, in one traced function."""
    import tensorflow as tf  # noqa: PLC0415 - each library is optional

    from worker.models.language_model import LanguageModel  # noqa: PLC0415 - each library is optional

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    language_model = LanguageModel.from_directory(model)
    function = tf.function(
        lambda ids: language_model.run_lstm(ids, is_training=False)[0],
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )

    def run(ids: Ids, _: Ids) -> Any:
        return function(ids.astype(np.int32)).numpy()

    return Peer("padded RNN", "float32", run, run)


#: For each name on the command line the ways in which a library is used, as functions of (model, threads), which raise
#: ImportError if the library isn't installed.
PEERS: Mapping[str, tuple[Callable[[ModelDirectory, int], Peer], ...]] = {
    "padded": (keras_rnn,),
    "pytorch": tuple(
        partial(torch_lstm, arithmetic=arithmetic, packed=packed, medium=medium)
        for arithmetic, medium in (("float32", False), ("bfloat16", False), ("float32", True))
        for packed in (False, True)
    ),
    "onnxruntime": (onnxruntime_lstm,),
    "openvino": tuple(partial(openvino_lstm, arithmetic=arithmetic) for arithmetic in ("float32", "bfloat16")),
}
