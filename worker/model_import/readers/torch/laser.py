"""LASER's sentence encoders (LASER2): an LSTM, and the ids of SentencePiece's pieces in the file.

LASER's program looks up the pieces of a text, which blanks separate, and adds </s>. A sentence's vector is the largest
of each number over all tokens: --pooling max. SentencePiece and what is done to a text before it are not in the file.

Source: laser_encoders/models.py of github.com/facebookresearch/LASER (`SentenceEncoder`, `LaserLstmEncoder`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found, Words
from worker.model_import.readers.torch.modules import find_modules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.model_import.found import Array

_KEYS = {"params", "model", "dictionary"}
_TABLE = "embed_tokens"
_END, _UNKNOWN = "</s>", "<unk>"
#: The program gives these ids whatever the dictionary says.
_SPECIAL = {"<s>": 0, "<pad>": 1, _END: 2, _UNKNOWN: 3}


def read_laser(content: Mapping[str, Any], arrays: Sequence[Array]) -> Found | None:
    """The layers, the embedding and the pieces of an encoder; None if it is something else.

    Args:
        content: the content of the file.
        arrays: all of its arrays, those of the model by their own names.

    Raises:
        ImportRefusedError: it is such an encoder, and its dictionary can't be read.
    """
    dictionary = content.get("dictionary")
    if not content.keys() >= _KEYS or not isinstance(dictionary, dict):
        return None
    found = find_modules(arrays, "LASER encoder")
    rows = found.tables[_TABLE].array.shape[0] if _TABLE in found.tables else 0
    index = dictionary | _SPECIAL
    if not all(isinstance(text, str) and type(one) is int and 0 <= one < rows for text, one in index.items()):
        raise ImportRefusedError(
            f"its dictionary doesn't give each piece of a text one of the {rows:,} rows of {_TABLE}; get a fresh copy"
        )
    description = (
        f"the file's {len(index):,} pieces, separated by blanks, as SentencePiece writes them; {_END} is put after "
        f"each text, and all other pieces are {_UNKNOWN}"
    )
    found.words = Words(index, _UNKNOWN, 0, description, (_END,))
    found.notes.append("the vector of a sentence is the largest of each number over its tokens: --pooling max")
    return found
