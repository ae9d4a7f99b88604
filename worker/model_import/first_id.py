"""Whether row 0 of a source's embedding is padding, as id 0 is here, or a token."""

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Alphabet, Float32, Found, Table, Words


def decide_first_id(
    found: Found, table: Table | None, rows: Float32 | None, asked: int | None, *, counts_others: bool = False
) -> tuple[int, str]:
    """Decide which of the source's ids is the first that is a token.

    Args:
        found: the content of the file.
        table: the embedding to import, or None if ids are one-hot vectors.
        rows: the numbers of the embedding, (rows, width).
        asked: what the user says, or None.
        counts_others: whether the source counts the ids of a row that aren't 0 as its length.

    Returns:
        1 if ids are the source's; 0 if they become the source's plus one. And the reason, for the user.

    Raises:
        ImportRefusedError: the user asks for vectors of an id that the source masks, or for other ids than those of the
            file's characters or words.
    """
    known = found.alphabet or found.words
    if known is not None:
        return _by_index(known, asked)
    _check_asked(table, asked, counts_others=counts_others)
    if asked is not None:
        return asked, f"--ids-from {asked}"
    if counts_others:
        return 1, "the source counts only ids other than 0 as the length of a row"
    if table is None or rows is None or table.one_hot:
        return 0, "ids are one-hot vectors, and the first is the source's id 0"
    return _by_rows(found, table, rows)


def _by_rows(found: Found, table: Table, rows: Float32) -> tuple[int, str]:
    if table.mask_zero:
        return 1, "the embedding masks id 0"
    if len(rows) and not rows[0].any():
        return 1, "the embedding's row 0 is all zeros"
    return (
        (1, "in Keras row 0 is usually padding; --ids-from 0 if it is a token")
        if found.zero_is_padding
        else (0, "row 0 holds a token's vector; --ids-from 1 if it is padding")
    )


def _check_asked(table: Table | None, asked: int | None, *, counts_others: bool) -> None:
    """Check that the user doesn't ask for vectors of an id that the source masks."""
    if asked == 0 and table is not None and table.mask_zero:
        raise ImportRefusedError(
            f"--ids-from 0: {table.name} masks id 0, so the source computes no vector for it; leave --ids-from out"
        )
    if asked == 0 and counts_others:
        raise ImportRefusedError(
            "--ids-from 0: the source counts only ids other than 0 as the length of a row; leave --ids-from out"
        )


def _by_index(known: Alphabet | Words, asked: int | None) -> tuple[int, str]:
    if isinstance(known, Words):
        whose = "the model's words"
    else:
        whose = "the model's characters" if known.description else "the file's own characters"
    if asked not in (None, known.first_id):
        raise ImportRefusedError(f"--ids-from {asked}: {whose} need {known.first_id}; leave --ids-from out")
    return known.first_id, f"by {whose}, id 0 is {'never read' if known.first_id else 'a token'}"
