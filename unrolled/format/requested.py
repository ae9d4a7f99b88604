"""The user's choice of what is stored, in words, applied to a model and its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import OptionError
from unrolled.format.output_spec import OutputSpec, parse_layers, parse_pooling
from unrolled.format.positions import ALL, WORD_ENDS, Positions, parse_positions
from unrolled.tokenization.characters import blanks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from unrolled.model.config import ModelConfig


def requested_spec(
    config: ModelConfig,
    tokenizer: Tokenizer | None,
    *,
    layers: str,
    pooling: Sequence[str],
    precision: str,
    with_tokens: bool,
    empty_rows: str,
    positions: str,
) -> OutputSpec:
    """The choice of what a job stores.

    Args:
        config: the model's configuration.
        tokenizer: the model's; None where it has none.
        layers: as `parse_layers` reads them.
        pooling: as `parse_pooling` reads it.
        precision: see `OutputSpec`.
        with_tokens: see `OutputSpec`.
        empty_rows: see `OutputSpec`.
        positions: as `positions_of` reads them.

    Raises:
        OptionError: the model doesn't have one of the layers, a pooling or positions are unknown, or the positions are
            not for this model or not for this pooling; or token ids are to be stored, and rows are vectors.
    """
    if with_tokens and config.vector_dim is not None:
        raise OptionError("--with-tokens: the model reads vectors, so its rows have no token ids; leave it out")
    return OutputSpec(
        parse_layers(layers, config),
        parse_pooling(pooling),
        precision,
        with_tokens,
        empty_rows,
        positions_of(positions, config, tokenizer),
    )


def positions_of(text: str, config: ModelConfig, tokenizer: Tokenizer | None) -> Positions | None:
    """The positions that a user names, for a model; None for all.

    Args:
        text: as `parse_positions` reads it.
        config: the model's configuration.
        tokenizer: the model's.

    Raises:
        OptionError: the text is not allowed; or it is "word-ends", and the model doesn't read characters, or its
            layers differ in their direction.
    """
    rule, count = parse_positions(text)
    if rule == ALL:
        return None
    if rule != WORD_ENDS:
        return Positions(rule, count)
    blanks = blanks_of(tokenizer) if tokenizer else None
    if not blanks:
        raise OptionError(
            "positions word-ends: the tokens of this model are not characters with a blank among them; give every:N or "
            "last:K, or leave --positions out"
        )
    direction, *others = {layer.direction for layer in config.recurrent_layers}
    if others:
        raise OptionError(
            "positions word-ends: the layers of this model read in different directions, so a vector has no place of "
            "its own in a word; take a model whose layers read in one direction, or all in both, or leave --positions "
            "out"
        )
    return Positions(WORD_ENDS, blanks=blanks, direction=direction)
