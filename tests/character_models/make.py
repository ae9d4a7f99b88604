"""Makes the models beside this file with Flair 0.15 and Stanza 1.15: `python tests/character_models/make.py`.

Each NAME.pt is a small model with random weights, as its package saves it. expected.npz contains for each model and
row of `ROWS` the vectors of the words, as the package itself computes them.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from flair.data import Dictionary, Sentence
from flair.embeddings import FlairEmbeddings
from flair.models import LanguageModel
from stanza.models.common.char_model import CharacterLanguageModel
from stanza.models.common.vocab import CharVocab

HERE = Path(__file__).parent
#: Words with blanks between them; some characters are in no alphabet.
ROWS = ["The cat sat .", "x", "naïve café 👍 ok", "an unknown ☃ and ☃☃☃ ß", "a " * 40 + "long row " * 20 + "ends"]
CHARACTERS = sorted({character for row in ROWS for character in row} - set("☃ß") | set("\n"))


def grow(module: torch.nn.Module) -> None:
    """Make weights as large as those of a trained model."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.8, 0.8)


def flair(name: str, *, forward: bool, layers: int, **more: object) -> list[np.ndarray]:
    """Save a model of Flair; returns its vectors of each row's words."""
    dictionary = Dictionary()
    for character in CHARACTERS:
        dictionary.add_item(character)
    model = LanguageModel(dictionary, forward, hidden_size=9, nlayers=layers, embedding_size=5, **more)
    grow(model)
    model.save(HERE / f"{name}.pt")
    embedding = FlairEmbeddings(HERE / f"{name}.pt")
    vectors = []
    for row in ROWS:
        sentence = Sentence(row.split())
        embedding.embed(sentence)
        vectors.append(np.stack([token.embedding.cpu().numpy() for token in sentence]))
    return vectors


def stanza(name: str, *, forward: bool, layers: int, rec_dropout: float = 0.0) -> list[np.ndarray]:
    """Save a model of Stanza; returns its vectors of each row's words."""
    sizes = {"char_emb_dim": 5, "char_hidden_dim": 9, "char_num_layers": layers}
    settings = {**sizes, "char_dropout": 0.1, "dropout": 0.1, "char_rec_dropout": rec_dropout}
    model = CharacterLanguageModel(settings, {"char": CharVocab([CHARACTERS])}, is_forward_lm=forward)
    grow(model)
    model.eval()
    model.save(str(HERE / f"{name}.pt"))
    loaded = CharacterLanguageModel.load(str(HERE / f"{name}.pt"))
    return [one.numpy() for one in loaded.build_char_representation([row.split() for row in ROWS])]


def main() -> None:
    """Write all files."""
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    made = {
        "flair_forward": flair("flair_forward", forward=True, layers=1),
        "flair_backward": flair("flair_backward", forward=False, layers=2),
        "flair_gru": flair("flair_gru", forward=True, layers=1, recurrent_type="GRU", has_decoder=False),
        "stanza_forward": stanza("stanza_forward", forward=True, layers=1),
        "stanza_backward": stanza("stanza_backward", forward=False, layers=2),
        "stanza_cells": stanza("stanza_cells", forward=True, layers=2, rec_dropout=0.2),
        "flair_nout": flair("flair_nout", forward=False, layers=1, nout=7),
    }
    expected = {f"{name}.{row}": one for name, rows in made.items() for row, one in enumerate(rows)}
    np.savez_compressed(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
