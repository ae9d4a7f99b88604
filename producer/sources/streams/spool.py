"""A temporary file for an input that is not a file, or is compressed, and needs random access."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from producer.sources.errors import DamagedInputError


@contextmanager
def spooled(chunks: Iterable[bytes]) -> Iterator[Path]:
    """Write chunks to a temporary file, which is removed at the end of the block.

    Raises:
        DamagedInputError: the chunks raise it, or the file can't be written.
    """
    with tempfile.NamedTemporaryFile(prefix="unrolled-input-") as file:
        try:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
        except OSError as error:
            where = tempfile.gettempdir()
            raise DamagedInputError(
                f"can't be unpacked into {where} ({error.strerror}); make room there, or set TMPDIR"
            ) from error
        yield Path(file.name)
