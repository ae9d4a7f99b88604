"""Sets up the device that TensorFlow computes on, before anything else uses TensorFlow."""

import os
from typing import Literal

from unrolled.errors import BrokenWorkerError
from worker.engines.cpus import allowed_cpus
from worker.models.tensorflow import tf

Device = Literal["auto", "cpu", "gpu"]


def find_gpu(device: Device) -> str | None:
    """Set up the GPUs so that processes can share them.

    Returns:
        The first GPU's name, or None for the CPU.

    Raises:
        BrokenWorkerError: a GPU is asked for and there is none, or TensorFlow has already been used.
    """
    if device == "cpu":
        return None
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        if device == "gpu":
            raise BrokenWorkerError(
                "a GPU is asked for and TensorFlow sees none; check the driver and CUDA_VISIBLE_DEVICES, "
                "install tensorflow[and-cuda], or choose the device auto or cpu"
            )
        return None
    # cuDNN would round float32 to TF32's 10 bits, and errors would be far larger than the promised 1e-5.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
    try:
        for gpu in gpus:
            # Two workers can share a GPU only if neither takes all of its memory at the start.
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError as error:
        raise BrokenWorkerError(
            f"TensorFlow was used before its GPU memory could be set to grow ({error}); make the engine before "
            "anything else uses TensorFlow in this process"
        ) from error
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))


def used_threads() -> int:
    """The CPU threads that TensorFlow uses within one operation."""
    named = os.environ.get("TF_NUM_INTRAOP_THREADS", "")  # which TensorFlow reads where no number is set
    default = int(named) if named.isdecimal() and int(named) else allowed_cpus()
    return int(tf.config.threading.get_intra_op_parallelism_threads()) or default


def set_threads(threads: int) -> None:
    """Have TensorFlow use this many CPU threads within one operation.

    Raises:
        BrokenWorkerError: the number is not allowed, or TensorFlow has already been used with another.
    """
    if threads < 1:
        raise BrokenWorkerError(f"threads is {threads}; give a whole number from 1 up, or none")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise BrokenWorkerError(
            f"threads={threads} is set too late: TensorFlow already uses "
            f"{tf.config.threading.get_intra_op_parallelism_threads()} threads (0: one for each core); make the engine "
            "before anything else uses TensorFlow in this process"
        ) from error
