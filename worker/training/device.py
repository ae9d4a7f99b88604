"""The device on which TensorFlow trains."""

from unrolled.errors import BrokenWorkerError
from worker.models.tensorflow import keras, tf


def start_tensorflow(device: str, threads: int | None) -> str:
    """Set TensorFlow up before its first operation, so that a seed always gives the same results on a CPU.

    Args:
        device: "auto", "cpu" or "gpu".
        threads: number of CPU threads; None for all.

    Returns:
        The name of the device.

    Raises:
        BrokenWorkerError: `device` is "gpu" and TensorFlow sees none.
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif device == "gpu" and not gpus:
        raise BrokenWorkerError(
            "--device is gpu, but TensorFlow sees no GPU; check the driver and CUDA_VISIBLE_DEVICES, install "
            "tensorflow[and-cuda], or choose --device auto or cpu"
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if not gpus:
        # Not on a GPU: the operation of the softmax has no deterministic form there, and would fail.
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(0)  # Keras requires a seed if determinism is on
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))
