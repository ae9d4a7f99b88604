"""Makes the encoder beside this file with laser-encoders 0.0.2: `python tests/laser_models/make.py`.

encoder.pt is a small LSTM encoder with random weights, in the form of laser2.pt. expected.npz contains the vectors of
`ROWS`, as `SentenceEncoder` computes them from SentencePiece's pieces. The modules of fairseq, whose classes
an LSTM encoder doesn't use, need not be installed.
"""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

HERE = Path(__file__).parent
PIECES = ["▁the", "▁cat", "s", "▁sat", ".", "▁naïve", "▁a", "▁dog:1"]
ROWS = ["▁the ▁cat s ▁sat .", "▁a", "", "▁unknown ▁the  ▁naïve\u00a0▁dog:1 s </s> .", "▁a ▁cat " * 20]


def without_fairseq() -> None:
    """Stand in for the names that the module imports."""
    for module, names in {
        "fairseq": (),
        "fairseq.data": (),
        "fairseq.data.dictionary": ("Dictionary",),
        "fairseq.models": (),
        "fairseq.models.transformer": ("Embedding", "TransformerEncoder"),
        "fairseq.modules": ("LayerNorm",),
        "laser_encoders.download_models": ("LaserModelDownloader",),
        "laser_encoders.laser_tokenizer": ("LaserTokenizer", "initialize_tokenizer"),
    }.items():
        sys.modules[module] = ModuleType(module)
        for name in names:
            setattr(sys.modules[module], name, type(name, (), {}))


def main() -> None:
    """Write both files."""
    without_fairseq()
    from laser_encoders.models import LaserLstmEncoder, SentenceEncoder  # noqa: PLC0415 - after its imports are there

    torch.manual_seed(0)
    sizes = {"embed_dim": 5, "hidden_size": 6, "num_layers": 2, "bidirectional": True}
    dictionary = {piece: number for number, piece in enumerate(PIECES, 4)}
    params = {"num_embeddings": len(dictionary) + 4, "padding_idx": 1, "left_pad": True, "padding_value": 0.0, **sizes}
    model = LaserLstmEncoder(**params)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.9, 0.9)
        model.embed_tokens.weight[1] = 0
    torch.save({"params": params, "model": model.state_dict(), "dictionary": dictionary}, HERE / "encoder.pt")
    encoder = SentenceEncoder(HERE / "encoder.pt", max_sentences=2, cpu=True)
    np.savez_compressed(HERE / "expected.npz", sentences=encoder.encode_sentences(ROWS))


if __name__ == "__main__":
    main()
