"""Character language models of Flair and Stanza, which have their alphabet in the file.

Both programs put a line break before a text and a blank after it (Flair's delimiter may be another), read a text from
its end if the model reads backward, and take as a word's vector the state at the blank that follows the word in the
order of reading. Stanza's models have first states that were learned.

Sources: flair/models/language_model.py, flair/embeddings/token.py (`FlairEmbeddings`);
stanza/models/common/char_model.py (`CharacterLanguageModel`), stanza/models/common/vocab.py.
"""

# Over 150 lines: two programs' files, with a reason for each that can't be imported.

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Alphabet, Array, Node
from worker.model_import.readers.torch.modules import find_modules
from worker.model_import.readers.torch.unpickling import Inert
from worker.model_import.token_maps import Dense

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.model_import.found import Float32, Found, Pass

_BLANK = " "
_FLAIR = {"state_dict", "dictionary", "is_forward_lm", "nlayers", "hidden_size"}
_STANZA = {"state_dict", "vocab", "is_forward_lm"}
_STANZA_UNKNOWN, _STANZA_PADDING = "<UNK>", "<PAD>"
_NOTE = "one vector for each word, as its own program gives: --positions word-ends of `unrolled run` and `enqueue`"


def read_character_model(content: Mapping[str, Any], arrays: Sequence[Array]) -> Found | None:
    """The layers, the embedding and the alphabet of a character language model; None if it is something else.

    Args:
        content: the content of the file.
        arrays: all of its arrays, those of the model by their own names.

    Raises:
        ImportRefusedError: it is such a model, and something in it can't be imported.
    """
    if content.keys() >= _FLAIR and isinstance(content["dictionary"], Inert):
        return _flair(content, arrays)
    inner = content.get("model")
    for model in (content, inner):  # full states, and those of a training checkpoint
        if isinstance(model, dict) and model.keys() >= _STANZA and isinstance(model["vocab"], dict):
            return _stanza(model, arrays)
    return None


def _flair(content: Mapping[str, Any], arrays: Sequence[Array]) -> Found:
    attributes = content["dictionary"].attributes
    items = attributes.get("idx2item")
    try:
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in items]
    except (TypeError, UnicodeDecodeError) as error:
        raise ImportRefusedError(f"its dictionary of characters can't be read ({error}); get a fresh copy") from error
    forward, delimiter = _is_forward(content), content.get("document_delimiter", "\n")
    if not isinstance(delimiter, str) or not delimiter:
        raise ImportRefusedError(f"its document_delimiter is {delimiter!r:.80}; a text is expected")
    above = {array.name: array for array in arrays if array.name in ("proj.weight", "proj.bias")}
    found = _found("Flair language model", [one for one in arrays if one.name not in above], forward=forward)
    if above:
        found.above = (_projection(found, above),)
    found.alphabet = _alphabet({text: number for number, text in enumerate(texts)}, 0, delimiter, 0, forward=forward)
    _check_size(found, "encoder", len(texts))
    return found


def _projection(found: Found, arrays: Mapping[str, Array]) -> Node:
    """The Linear layer above the LSTM (nout), which makes the vectors of `FlairEmbeddings`."""
    weight, bias = arrays.get("proj.weight"), arrays.get("proj.bias")
    top = list(found.layers.values())[-1] if found.layers else None
    if weight is None or bias is None or top is None or weight.dtype or bias.dtype:
        raise ImportRefusedError("its layer proj has no weights and biases of floats; get a fresh copy")
    if weight.shape[1:] != (top.outputs,) or bias.shape != weight.shape[:1]:
        raise ImportRefusedError("its layer proj doesn't fit the layer below it; get a fresh copy")
    return Node("proj", "map", "Linear", map=Dense(weight, bias, "linear", turned=True))


def _stanza(content: Mapping[str, Any], arrays: Sequence[Array]) -> Found:
    vocabulary = content["vocab"]
    ids = vocabulary.get("_unit2id")
    sound = isinstance(ids, dict) and all(isinstance(text, str) and type(one) is int for text, one in ids.items())
    if not sound or not isinstance(ids.get(_STANZA_UNKNOWN), int) or ids.get(_STANZA_PADDING) != 0:
        raise ImportRefusedError("its vocabulary isn't that of a character model of Stanza; get a fresh copy")
    if vocabulary.get("lower"):
        raise ImportRefusedError("its vocabulary lower-cases characters, which can't be imported")
    forward = _is_forward(content)
    found = _found("Stanza character model", arrays, forward=forward)
    found.alphabet = _alphabet(ids, ids[_STANZA_UNKNOWN], "\n", 1, forward=forward)
    _check_size(found, "char_emb", len(ids))
    return found


def _is_forward(content: Mapping[str, Any]) -> bool:
    forward = content["is_forward_lm"]
    if type(forward) is not bool:
        raise ImportRefusedError(f"its is_forward_lm is {forward!r:.80}; true or false is expected")
    return forward


def _found(what: str, arrays: Sequence[Array], *, forward: bool) -> Found:
    first = [array for array in arrays if re.fullmatch(r"charlstm_[hc]_init", array.name)]
    head = [array for array in arrays if array.name in ("decoder.weight", "decoder.bias")]
    beside = {array.name for array in (*first, *head)}
    found = find_modules(
        [array for array in arrays if array.name not in beside], f"{what}, {'forward' if forward else 'backward'}"
    )
    found.left += [array.name for array in head]
    found.notes.append(_NOTE)
    for number, layer in enumerate(found.layers.values()):
        if layer.problem is None and layer.forward is not None and layer.backward is None:
            one = replace(layer.forward, first=_first_of(first, number, layer.forward))
            layer.forward, layer.backward = (one, None) if forward else (None, one)
    return found


def _first_of(arrays: Sequence[Array], number: int, one: Pass) -> tuple[Array, ...]:
    """The first states of one layer, from arrays (layers, 1, units)."""
    if not arrays:
        return ()
    by_name = {array.name: array for array in arrays}
    made = []
    for name in ("charlstm_h_init", "charlstm_c_init"):
        array = by_name.get(name)
        if array is None or array.dtype or array.shape[1:] != (1, one.units) or array.shape[0] <= number:
            raise ImportRefusedError(f"{name} doesn't fit a layer of {one.units} units; get a fresh copy")
        made.append(Array(f"{name}[{number}]", (one.units,), partial(_row_of, array, number)))
    return tuple(made)


def _row_of(array: Array, number: int) -> Float32:
    return np.array(array.read()[number, 0])


def _alphabet(ids: Mapping[str, int], unknown: int, delimiter: str, first_id: int, *, forward: bool) -> Alphabet:
    # What is read first is put before a text that is read forward, and after one that is read backward.
    before, after = (delimiter, _BLANK) if forward else (_BLANK, delimiter[::-1])
    index = {text: number for text, number in ids.items() if len(text) == 1 and number >= first_id}
    if _BLANK not in index:
        raise ImportRefusedError("its alphabet has no blank, so it isn't a character language model's")
    return Alphabet(index, unknown, before, after, first_id)


def _check_size(found: Found, table: str, characters: int) -> None:
    rows = found.tables[table].array.shape[0] if table in found.tables else 0
    if rows != characters:
        raise ImportRefusedError(f"its embedding has {rows} rows for {characters} characters; get a fresh copy")
