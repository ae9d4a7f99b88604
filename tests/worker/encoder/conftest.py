import pytest
from support.encoder_model import make_encoder_model


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The directory of a small model with a tokenizer."""
    return make_encoder_model(tmp_path_factory.mktemp("model") / "model")
