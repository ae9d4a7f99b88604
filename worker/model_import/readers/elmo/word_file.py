"""A file of words, one on each line, as bilm reads it.

Source: bilm/data.py of github.com/allenai/bilm-tf (`Vocabulary`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.model_import.errors import ImportRefusedError

if TYPE_CHECKING:
    from pathlib import Path

#: The words that stand for the beginning and the end of a sentence, and for words that are not in the file.
BEGIN, END, UNKNOWN = "<S>", "</S>", "<UNK>"
#: A line that bilm leaves out.
_NO_WORD = "!!!MAXTERMID"
#: ELMo's own file has 8 MB.
_MOST_BYTES = 256 << 20


def read_words(path: Path) -> list[str]:
    """Read the words, in the file's order.

    Raises:
        ImportRefusedError: it can't be read as UTF-8, is too large, has no word, or has a line without one or with two.
    """
    words = []
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ImportRefusedError(
                f"{path} has more than {_MOST_BYTES:,} bytes; give a file of words, one on each line"
            )
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                word = line.strip()
                if not word:
                    raise ImportRefusedError(f"{path}: line {number} is empty; give a file of words, one on each line")
                if len(word.split()) > 1:  # a text has no such word: it is split there
                    raise ImportRefusedError(
                        f"{path}: line {number} has white space inside: {word!r:.80}; give a file of words, one on "
                        "each line"
                    )
                if word != _NO_WORD:
                    words.append(word)
    except UnicodeDecodeError as error:
        raise ImportRefusedError(
            f"{path} isn't UTF-8 ({error}); give a text file of words, one on each line"
        ) from error
    except OSError as error:
        raise ImportRefusedError(f"{path} can't be read ({error.strerror or error})") from error
    if not words:
        raise ImportRefusedError(f"{path} is empty; give a file of words, one on each line")
    return words
