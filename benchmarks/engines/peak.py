"""The machine's peak rates: the fastest matrix product of each library, and multiply-adds on registers."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

SIZE, REPEATS = 2048, 5


def peaks(threads: int) -> dict[tuple[str, str], float]:
    """The operations per second on this many threads, by name and arithmetic; a multiply-add is two operations."""
    found = {}
    for name, make in (("PyTorch", _torch), ("TensorFlow", _tensorflow), ("OpenVINO", _openvino)):
        try:
            products = list(make(threads))
        except ImportError:
            continue
        for arithmetic, product in products:
            product()
            found[f"{name}'s matrix product", arithmetic] = (
                2.0 * SIZE**3 / min(_seconds(product) for _ in range(REPEATS))
            )
    return found | {("registers", arithmetic): rate for arithmetic, rate in _registers(threads)}


def gauge(threads: int) -> Callable[[], float] | None:
    """Reads how fast the machine is at the moment: the rate of a small model on this many threads, in about 20 ms.

    The model is computed in bfloat16, because what a neighbour on the same core slows most is the loading of the matrix
    units' tiles. None without the fused engine.
    """
    from worker.engines.fused import library  # noqa: PLC0415 - the kernel may not be built

    return None if library.why_unavailable() else lambda: library.rate("bfloat16", threads)


def _seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _torch(threads: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    import torch  # noqa: PLC0415 - each library is optional

    torch.set_num_threads(threads)
    for arithmetic in ("float32", "bfloat16"):
        a = torch.rand(SIZE, SIZE).to(getattr(torch, arithmetic))
        yield arithmetic, lambda a=a: a @ a


def _tensorflow(threads: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    import tensorflow as tf  # noqa: PLC0415 - each library is optional

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    for arithmetic in ("float32", "bfloat16"):
        a = tf.cast(tf.random.uniform((SIZE, SIZE)), arithmetic)
        yield arithmetic, lambda a=a: tf.linalg.matmul(a, a)


def _openvino(threads: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    import openvino  # noqa: PLC0415 - each library is optional
    from openvino import opset13  # noqa: PLC0415 - each library is optional

    a = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    for arithmetic, hint in (("float32", "f32"), ("bfloat16", "bf16")):
        parameter = opset13.parameter([SIZE, SIZE], np.float32)
        model = openvino.Model(
            [opset13.matmul(parameter, a, transpose_a=False, transpose_b=False)], [parameter], "product"
        )
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads)}
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        yield arithmetic, lambda request=request: request.infer([a], share_inputs=True, share_outputs=True)


def _registers(threads: int) -> Iterator[tuple[str, float]]:
    """The rate of the fused engine's loop of multiply-adds, which touches no memory."""
    from worker.engines.fused import library  # noqa: PLC0415 - the kernel may not be built

    if library.why_unavailable():
        return
    kernel, isa = library.load(), library.forced_isa()

    def spin(number: int) -> float:
        began, done = time.perf_counter(), 0.0
        while time.perf_counter() < began + 0.1:
            done += kernel.unrolled_spin(isa, number, 20_000)
        return done / (time.perf_counter() - began)

    with ThreadPoolExecutor(threads) as pool:
        for arithmetic, number in library.ARITHMETICS.items():
            yield arithmetic, max(sum(pool.map(spin, [number] * threads)) for _ in range(REPEATS))
