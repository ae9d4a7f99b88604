"""Where an input's bytes are: everything that reads an input gets them here."""

from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol

from unrolled.patience import Steadily


class Place(Protocol):
    """One input that can be read again: a file on a disk, or an object in a bucket.

    Attributes:
        name: the path or URL, as people write it.
        size_bytes: its size; None for a pipe, which can be read once.
        version: what changes when the input does, as JSON values, besides its name and its size.
        is_distant: whether each look at it takes a while, so that several are taken at once.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above

    @property
    def size_bytes(self) -> int | None: ...  # noqa: D102 - see above

    @property
    def version(self) -> str | int: ...  # noqa: D102 - see above

    @property
    def is_distant(self) -> bool: ...  # noqa: D102 - see above

    def open(self, steadily: Steadily) -> BinaryIO:
        """The content from its start on.

        Args:
            steadily: tries each look at a bucket until it works.

        Raises:
            DamagedInputError: it can't be opened; reading from it raises this error too, or an OSError.
        """
        ...

    def open_table(self, steadily: Steadily, *, mapped: bool) -> AbstractContextManager[Any]:
        """The content with random access, as pyarrow reads it.

        Args:
            steadily: as in `open`.
            mapped: whether the file is mapped into memory, where it is on a disk.

        Raises:
            DamagedInputError: it can't be opened.
            OSError: it can't be opened.
        """
        ...
