"""Padding that the source's program puts into rows: what the user says, compared with what the file shows."""

from collections.abc import Mapping

from unrolled.model.config import ModelConfig
from unrolled.model.padding import Padding
from worker.model_import.errors import ImportRefusedError
from worker.model_import.selection.stack import Asked, AskedPadding, Stack

_HOW = (
    "the vectors of shorter rows depend on it. Say how the source's program pads rows: --pad {length} if after "
    "their tokens, --pad {length}:pre if before them (as Keras's pad_sequences does by default). If all rows have "
    "this length, "
)
_WHY_OF_IDS = (
    "the source reads rows of {length} tokens and doesn't mask padding, so it computes padding like a token, and "
    f"{_HOW}or you want vectors without padding: --unpadded"
)
#: Of a graph that doesn't show what it masks, but what it computes.
WHY_OF_RUN = (
    "the source reads rows of {length} tokens, and its graph computes id 0 like a token where rows are padded with it, "
    f"so {_HOW}it masks another padding, or masks it in some layers only, or you want vectors without padding: "
    "--unpadded"
)
_WHY_OF_VECTORS = (
    "the source reads rows of {length} vectors and doesn't mask padding. If all rows have this length, or you want "
    "vectors without padding: --unpadded; if the source's program pads rows, put its vectors of padding into yours, too"
)


def check_padding(asked: Asked, length: int | None, masked: Mapping[str, bool]) -> None:
    """Check what the user says about padding against the file's graph.

    Args:
        asked: the user's statements.
        length: tokens in a row of the source, if it is fixed.
        masked: for each layer, by its name, whether a mask hides padding from it.

    Raises:
        ImportRefusedError: they contradict each other; or the source computes padding, and nothing says how rows are
            padded.
    """
    pad = asked.padding
    hides = all(masked.values())
    if not hides and any(masked.values()) and (pad is not None or length is not None) and not asked.unpadded:
        names = [", ".join(name for name, one in masked.items() if one is wanted) for wanted in (True, False)]
        raise ImportRefusedError(
            f"the source masks padding in {names[0]}, but not in {names[1]}; vectors that depend on padding in this "
            "way can't be imported. For vectors without padding: --unpadded"
        )
    if pad is not None and hides:
        raise ImportRefusedError(
            f"--pad {pad.length}: the source masks padding, so its vectors don't depend on it; leave --pad out"
        )
    check_length(pad, length)
    if not hides and length is not None and pad is None and not asked.unpadded:
        raise ImportRefusedError((_WHY_OF_VECTORS if asked.vectors else _WHY_OF_IDS).format(length=length))


def check_length(pad: AskedPadding | None, length: int | None) -> None:
    """Check that rows are padded to the length that the source reads, if it is fixed.

    Raises:
        ImportRefusedError: the user says that they are padded to another one.
    """
    if pad is not None and length not in (None, pad.length):
        raise ImportRefusedError(
            f"--pad {pad.length}: the source reads rows of {length} tokens, so its rows are padded to {length}"
        )


def check_unmasked_vectors(stack: Stack) -> None:
    """Check that a stack which reads vectors, and computes some that the source masks, reads them unchanged.

    Masking doesn't only make a mask: it also makes the vectors that it hides zero.

    Raises:
        ImportRefusedError: it doesn't.
    """
    if stack.masks_partly:
        found = "it masks vectors of one number in some of its layers only"
    elif any(stack.hidden):
        found = (
            f"its Masking makes zeros of a vector that has only {stack.hidden[0]:g}, but the mask doesn't reach the "
            "recurrent layers, so they compute the zeros as a token"
        )
    else:
        return
    raise ImportRefusedError(f"{found}, which can't be imported. If no row has such a vector: --unpadded")


def settle_padding(asked: AskedPadding, config: ModelConfig, ids_from: int, *, vectors: bool) -> Padding:
    """The padding in the model's own ids.

    Args:
        asked: the user's statement, with the source's id.
        config: the model's configuration.
        ids_from: 1 if ids are the source's; 0 if they are the source's plus one.
        vectors: whether the source reads one-hot vectors, and not ids.

    Raises:
        ImportRefusedError: the id isn't one of the source's, can't be kept, or isn't known.
        ModelError: the length isn't allowed.
    """
    one_hot = config.embedding_dim is None
    if asked.zeros and not one_hot:
        raise ImportRefusedError(
            "--pad-id zeros is for ids as one-hot vectors"
            + (" that a recurrent layer reads; here they are multiplied with a matrix: " if vectors else "; here ")
            + "padding has an id of the embedding"
        )
    if asked.zeros:
        return Padding(asked.length, asked.side, 0)
    if vectors and asked.id is None:
        raise ImportRefusedError(
            f"--pad {asked.length}: the source reads vectors, and nothing shows those of its padding. If they have "
            "only zeros: --pad-id zeros; if they are those of an id: --pad-id ID"
        )
    number = (asked.id or 0) + 1 - ids_from
    if one_hot and number == 0:
        raise ImportRefusedError(
            "padding is the source's id 0, and with --ids-from 1 the row of id 0 isn't imported; use --ids-from 0 or, "
            "if padding is a vector of zeros, --pad-id zeros"
        )
    if number > config.vocab_size:
        raise ImportRefusedError(f"--pad-id {asked.id}: the source has the ids 0..{config.vocab_size - 1 + ids_from}")
    return Padding(asked.length, asked.side, number)


def describe_padding(padding: Padding, asked: AskedPadding, *, matters: bool) -> str:
    """What was settled, for the user."""
    token = "a vector of zeros" if asked.zeros else f"the source's id {asked.id or 0}"
    how = f"to {padding.length:,} tokens with {token}, {padding.side} the tokens"
    if matters:
        return (
            f"rows are padded {how}, and all steps are computed, as in the source. Vectors of padding are never stored "
            f"or pooled, and rows of more than {padding.length:,} tokens are refused"
        )
    return (
        f"padding {how}, is left out: the layers read it after all tokens of a row, so it changes no vector of a token"
    )
