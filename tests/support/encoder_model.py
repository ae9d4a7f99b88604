"""A small model with a tokenizer, for tests of what computes without a job."""

from support.reference import random_weights
from support.tokenizers import words

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig

CONFIG = ModelConfig(9, 20, 3, (LayerConfig(4), LayerConfig(5)))


def make_encoder_model(folder):
    """Two layers, and a tokenizer: a is 1, b is 2, other words are 3."""
    save_model(folder, CONFIG, random_weights(CONFIG, seed=1), words().to_str())
    return folder
