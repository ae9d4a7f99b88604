"""TensorFlow and Keras without TensorFlow's start-up messages; all other modules import them from here.

The messages are about the processor and absent GPUs. Level 2 hides those of TensorFlow's own log; some come before that
log is set up, or from CUDA's driver, and whatever the level.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

from unrolled.errors import BrokenWorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STANDARD_ERROR = 2


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Keep what is written to standard error in a block, by C++ code too, out of sight; show it if the block fails."""
    try:
        kept = os.dup(_STANDARD_ERROR)
    except OSError:  # it is closed
        yield
        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), _STANDARD_ERROR)
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)


def _other_backend() -> BrokenWorkerError:
    config = sys.modules.get("keras.src.backend.config")  # is there although the backend may not be
    name = config.backend() if config else os.environ.get("KERAS_BACKEND") or "another backend"
    return BrokenWorkerError(
        f"Keras is set to compute with {name} in this program, and this needs Keras on TensorFlow: set the variable "
        "KERAS_BACKEND=tensorflow before Keras is imported, or choose the fused engine"
    )


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported
try:
    with without_chatter():
        import keras
        import tensorflow as tf

        # The first look for GPUs has a message of its own where there is none.
        tf.config.list_physical_devices()
except ImportError as error:  # what its settings name isn't there
    if error.name in ("jax", "torch", "openvino"):
        raise _other_backend() from error
    raise
except ValueError as error:
    if "Unable to import backend" in str(error):
        raise _other_backend() from error
    raise
if keras.backend.backend() != "tensorflow":
    raise _other_backend()


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Have Keras make layers and optimizers in float32 in a block, whatever keras.json or the program has chosen."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


__all__ = ["in_float32", "keras", "tf"]
