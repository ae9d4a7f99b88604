"""Whether row 0 of a source's embedding is padding, as id 0 is here, or a token."""

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Alphabet, Float32, Found, Table, Words


def decide_first_id(found: Found, table: Table | None, rows: Float32 | None, asked: int | None) -> tuple[int, str]:
    """Decide which of the source's ids is the first that is a token.

    Args:
        found: the content of the file.
        table: the embedding to import, or None if ids are one-hot vectors.
        rows: the numbers of the embedding, (rows, width).
        asked: what the user says, or None.

    Returns:
        1 if ids are the source's; 0 if they become the source's plus one. And the reason, for the user.

    Raises:
        ImportRefusedError: the user asks for vectors of an id that the source masks, or for other ids than those of the
            file's characters or words.
    """
    known = found.alphabet or found.words
    if known is not None:
        return _by_index(known, asked)
    if asked == 0 and table is not None and table.mask_zero:
        raise ImportRefusedError(
            f"--ids-from 0: {table.name} masks id 0, so the source computes no vector for it; leave --ids-from out"
        )
    if asked is not None:
        return asked, f"--ids-from {asked}"
    if table is None or rows is None:
        return 0, "ids are one-hot vectors, and the first is the source's id 0"
    if table.mask_zero:
        return 1, "the embedding masks id 0"
    if len(rows) and not rows[0].any():
        return 1, "the embedding's row 0 is all zeros"
    return (
        (1, "in Keras row 0 is usually padding; --ids-from 0 if it is a token")
        if found.zero_is_padding
        else (0, "row 0 holds a token's vector; --ids-from 1 if it is padding")
    )


def _by_index(known: Alphabet | Words, asked: int | None) -> tuple[int, str]:
    if isinstance(known, Words):
        whose = "the model's words"
    else:
        whose = "the model's characters" if known.description else "the file's own characters"
    if asked not in (None, known.first_id):
        raise ImportRefusedError(f"--ids-from {asked}: {whose} need {known.first_id}; leave --ids-from out")
    return known.first_id, f"by {whose}, id 0 is {'never read' if known.first_id else 'a token'}"
