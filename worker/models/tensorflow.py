"""TensorFlow and Keras without TensorFlow's start-up messages; all other modules import them from here.

The messages are about the processor and absent GPUs. Level 2 hides those of TensorFlow's own log; some come before that
log is set up, or from CUDA's driver, and whatever the level.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported
with without_chatter():
    import keras
    import tensorflow as tf

    # The first look for GPUs has a message of its own where there is none.
    tf.config.list_physical_devices()

__all__ = ["keras", "tf"]
