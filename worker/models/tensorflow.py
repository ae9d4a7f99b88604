"""TensorFlow and Keras without TensorFlow's start-up messages; all other modules import them from here.

The messages are about the CPU and absent GPUs. Level 2 hides them and warnings; errors still come as exceptions.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported

import keras
import tensorflow as tf

__all__ = ["keras", "tf"]
