"""Joins a model that reads forward and one that reads backward to one, whose outputs are theirs side by side.

Such pairs are two files: the character language models of Flair and Stanza, for example. Layer by layer they become
bidirectional layers. If there are embeddings, each row is that of the one model and then that of the other, and each
direction has weights of 0 for the other's part; so have, in higher layers, the inputs of the other direction. Adding
products with 0 changes no sum, so the states are those of the two models.

Two alphabets become one: each character has both models' vectors. What the tokenizers put before and after a text may
differ: such a token has the vectors of one token in the one model and of another token in the other.
"""

# Over 150 lines: what two models share, and what is made of the rest, tensor by tensor.

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.tokenization.characters import UNKNOWN, build
from unrolled.tokenization.word_rules import PADDING
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.parity.plain_arithmetic import last_states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from unrolled.model.layer import LayerConfig
    from worker.model_import.found import Float32

    Ids = NDArray[np.int64]

#: Characters that stand for what tokenizers add: blanks that no text contains (the separators of Unicode's C0), and
#: others of its private area.
_BLANK_MARKS, _OTHER_MARKS = "\x1c\x1d\x1e\x1f", "\ue000\ue001\ue002\ue003"
#: Tensors with a row for each number that the layer below gives.
_OF_INPUTS = ("kernel", "input_factor")
_LENGTHS = (1, 2, 5, 13)


@dataclass(frozen=True, slots=True)
class Pair:
    """A model that was made of two.

    Attributes:
        model: the new model directory.
        largest: the largest difference between its outputs and those of the two models, for a few rows.
    """

    model: ModelDirectory
    largest: float


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The ids of the new model: for each, from 1, that of the forward and that of the backward model."""

    ids: tuple[Ids, Ids]
    tokenizer: str | None


def _check_rows(one: ModelDirectory) -> None:
    """Check that a model's rows are token ids and nothing else.

    Raises:
        ImportRefusedError: they are padded, contain vectors, or bring initial states.
    """
    for found, only in (
        (one.config.padding and "are padded", "models without padding"),
        (one.config.given_dim and "bring initial states", "models without them"),
        (one.config.vector_dim and "contain vectors", "models of token ids"),
    ):
        if found:
            raise ImportRefusedError(
                f"{one.path}: its rows {found}, and only {only} can be joined; store the outputs of the two in two jobs"
            )


def join_models(forward: ModelDirectory, backward: ModelDirectory, directory: Path) -> Pair:
    """Make one model of two.

    Args:
        forward: the model that reads forward.
        backward: the model that reads backward.
        directory: of the new model.

    Raises:
        ModelError: the two don't fit together, or `directory` contains another model.
    """
    for one in (forward, backward):
        _check_rows(one)
    layers = _layers(forward.config, backward.config)
    vocabulary = _vocabulary(forward, backward)
    widths = [config.embedding_dim for config in (forward.config, backward.config)]
    if None in widths and widths != [None, None]:
        raise ImportRefusedError("one model has an embedding, and the other reads ids as one-hot vectors")
    config = ModelConfig(
        len(vocabulary.ids[0]),
        max(forward.config.max_length, backward.config.max_length),
        None if None in widths else sum(width or 0 for width in widths),
        layers,
    )
    both = forward.weights(), backward.weights()
    weights = _tensors(config, both, vocabulary)
    largest = _largest_difference(config, weights, (forward.config, backward.config), both, vocabulary)
    if not largest <= 1e-6:
        raise ModelError(f"the joined model differs by {largest:.1e} from the two models; nothing was written")
    return Pair(save_model(directory, config, weights, vocabulary.tokenizer), largest)


def _layers(forward: ModelConfig, backward: ModelConfig) -> tuple[LayerConfig, ...]:
    for which, config, direction in (("first", forward, "forward"), ("second", backward, "backward")):
        if len(config.recurrent_layers) < len(config.layers):
            raise ImportRefusedError(
                f"the {which} model has other layers than recurrent ones: {config.describe_layers()}; such models "
                "can't be joined. Store the outputs of the two in two jobs"
            )
        found = sorted({layer.direction for layer in config.recurrent_layers} - {direction})
        if found:
            raise ImportRefusedError(
                f"the {which} model has {found[0]} layers; give a model that "
                "reads forward and then one that reads backward"
            )
    made = []
    pairs = zip(forward.recurrent_layers, backward.recurrent_layers, strict=False)
    for one, other in pairs:
        first = one.first_state or other.first_state
        both = [replace(layer, direction="bidirectional", first_state=first) for layer in (one, other)]
        if both[0] != both[1] or len(forward.layers) != len(backward.layers):
            raise ImportRefusedError(
                f"their layers differ: {forward.describe_layers()}; {backward.describe_layers()}. Only models with "
                "layers of one kind and size can be joined; store the outputs of the two in two jobs"
            )
        made.append(both[0])
    return tuple(made)


def _tensors(config: ModelConfig, both: tuple[dict[str, Float32], ...], vocabulary: _Vocabulary) -> dict[str, Float32]:
    weights: dict[str, Float32] = {}
    if config.embedding_dim is not None:
        rows = [one["embedding"][ids] for one, ids in zip(both, vocabulary.ids, strict=True)]
        weights["embedding"] = np.concatenate([np.zeros((1, config.embedding_dim), np.float32), np.hstack(rows)])
    for number, (layer, inputs) in enumerate(zip(config.layers, config.input_dims, strict=True)):
        for side, prefix in enumerate(layer.prefixes(number)):
            for part, shape in layer.shapes(inputs).items():
                # A model without first states of its own begins with zeros.
                array = both[side].get(f"{prefix}.{part}", np.zeros(shape, np.float32))
                if part in _OF_INPUTS:
                    array = _spread(array, config, number, side, vocabulary)
                weights[f"{prefix}.{part}"] = np.ascontiguousarray(array, np.float32)
    return weights


def _spread(array: Float32, config: ModelConfig, number: int, side: int, vocabulary: _Vocabulary) -> Float32:
    """The rows of a matrix for the inputs of both models, with zeros for those of the other one."""
    if number == 0 and config.embedding_dim is None:
        return array[vocabulary.ids[side] - 1]  # a row for each id
    made = np.zeros((config.input_dims[number], array.shape[1]), np.float32)
    if side:
        made[-len(array) :] = array
    else:
        made[: len(array)] = array
    return made


def _largest_difference(
    config: ModelConfig,
    weights: dict[str, Float32],
    configs: tuple[ModelConfig, ...],
    both: tuple[dict[str, Float32], ...],
    vocabulary: _Vocabulary,
) -> float:
    random = np.random.default_rng(0)
    found = []
    for length in _LENGTHS:
        row = random.integers(1, config.vocab_size + 1, length, dtype=np.int32)
        own = [
            last_states(one, tensors, ids[row - 1].astype(np.int32), np.float64)
            for one, tensors, ids in zip(configs, both, vocabulary.ids, strict=True)
        ]
        found.append(np.abs(last_states(config, weights, row, np.float64) - np.hstack(own)).max())
    return float(np.max(found))  # Python's max loses NaN


def _vocabulary(forward: ModelDirectory, backward: ModelDirectory) -> _Vocabulary:
    texts = [_tokenizer_text(model) for model in (forward, backward)]
    sizes = [model.config.vocab_size for model in (forward, backward)]
    if texts[0] == texts[1]:
        if sizes[0] != sizes[1]:
            raise ImportRefusedError(
                f"their vocabularies have {sizes[0]:,} and {sizes[1]:,} ids; an id must mean one token in both"
            )
        ids = np.arange(1, sizes[0] + 1)
        return _Vocabulary((ids, ids), texts[0])
    found = [None if text is None else _characters(text) for text in texts]
    if found[0] is None or found[1] is None:
        raise ImportRefusedError(
            "their tokenizers differ, and not both are made of characters; give models with one tokenizer.json"
        )
    return _of_characters(found[0], found[1])


def _tokenizer_text(model: ModelDirectory) -> str | None:
    if model.tokenizer_path is None:
        return None
    model.tokenizer()  # checks it
    return model.tokenizer_path.read_text(encoding="utf-8-sig")


@dataclass(frozen=True, slots=True)
class _Characters:
    """What a tokenizer of characters does: ids of characters and of all others, and what it adds to a text."""

    index: dict[str, int]
    unknown: int
    before: list[int]
    after: list[int]


def _characters(text: str) -> _Characters | None:
    """What a tokenizer of characters does; None if it is another, or drops characters."""
    found: dict[str, Any] = json.loads(text)
    model, added = found["model"], found["post_processor"] or {"single": [{"Sequence": {}}], "special_tokens": {}}
    plain = model["type"] == "BPE" and not model["merges"] and not model.get("byte_fallback")
    if (
        not plain
        or found["pre_tokenizer"]
        or found["normalizer"]
        or model["unk_token"] != UNKNOWN
        or "single" not in added
    ):
        return None
    vocabulary: dict[str, int] = model["vocab"]
    index = {token: number for token, number in vocabulary.items() if number and token not in (PADDING, UNKNOWN)}
    if any(len(token) != 1 for token in index):
        return None
    before: list[int] = []
    after: list[int] = []
    side = before
    for piece in added["single"]:
        if "Sequence" in piece:
            side = after
        else:
            side += added["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
    return _Characters(index, vocabulary[UNKNOWN], before, after)


def _of_characters(forward: _Characters, backward: _Characters) -> _Vocabulary:
    """One alphabet of two: their characters, all others, and the tokens that are added to a text."""
    if (len(forward.before), len(forward.after)) != (len(backward.before), len(backward.after)):
        raise ImportRefusedError("their tokenizers add different numbers of tokens to a text; they can't be joined")
    numbers = count(1)
    pairs: list[tuple[int, int]] = []
    index: dict[str, int] = {}
    for character in sorted(forward.index.keys() | backward.index.keys()):
        index[character] = next(numbers)
        pairs.append((forward.index.get(character, forward.unknown), backward.index.get(character, backward.unknown)))
    unknown = next(numbers)
    pairs.append((forward.unknown, backward.unknown))
    blanks = [{one for text, one in model.index.items() if text.isspace()} for model in (forward, backward)]
    marks = (iter([one for one in text if one not in index]) for text in (_BLANK_MARKS, _OTHER_MARKS))
    blank_marks, other_marks = marks
    texts: list[str] = []
    for ahead, back in ((forward.before, backward.before), (forward.after, backward.after)):
        text = ""
        for pair in zip(ahead, back, strict=True):
            mark = next(_marks_for(pair, blanks, blank_marks, other_marks), None)
            if mark is None:
                raise ImportRefusedError("their tokenizers add more than four tokens to a text; they can't be joined")
            index[mark] = next(numbers)
            pairs.append(pair)
            text += mark
        texts.append(text)
    try:
        tokenizer = build(index, unknown, before=texts[0], after=texts[1])
    except ModuleNotFoundError as error:
        raise refuse_missing("tokenizers", "import") from error
    both = np.array(pairs, np.int64).T
    return _Vocabulary((both[0], both[1]), tokenizer.to_str())


def _marks_for(
    pair: tuple[int, int], blanks: list[set[int]], blank_marks: Iterator[str], other_marks: Iterator[str]
) -> Iterator[str]:
    """A token that is a blank in both models is one in the new model, too: words end there."""
    return blank_marks if all(one in found for one, found in zip(pair, blanks, strict=True)) else other_marks
