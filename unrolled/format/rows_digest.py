"""One number for which rows a shard holds: their ids and masks, in order.

The producer writes it into the job's log when it cuts a shard; `verify` computes it again from the
published file. Equal digests mean that the file holds those rows, each once, in that order.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from unrolled.tokenization.ragged import Ragged

_DIGEST_BYTES = 16


class RowsDigest:
    """A digest that takes rows in any portions: only their order counts, not where the portions end.

    It is BLAKE2b (16 bytes) over four BLAKE2b digests: of the ids' lengths in bytes (little-endian int64), of
    their UTF-8 bytes, of the masks' lengths (little-endian int64), and of the masks, a byte 0 or 1 a token.
    """

    def __init__(self) -> None:
        self._id_lengths, self._ids, self._mask_lengths, self._masks = (
            blake2b(digest_size=_DIGEST_BYTES) for _ in range(4)
        )

    def update(self, ids: Sequence[str], mask_lengths: NDArray[np.integer], mask_values: NDArray[np.bool_]) -> None:
        """Add rows.

        Args:
            ids: one for each row.
            mask_lengths: integers (rows,), each row's number of tokens, padding included.
            mask_values: bool (sum of mask_lengths,), the rows' masks end to end.

        Raises:
            UnicodeEncodeError: an id holds a lone surrogate, which no file can store.
        """
        encoded = [row_id.encode() for row_id in ids]
        self._id_lengths.update(np.fromiter(map(len, encoded), "<i8", len(encoded)).tobytes())
        self._ids.update(b"".join(encoded))
        self._mask_lengths.update(mask_lengths.astype("<i8").tobytes())
        self._masks.update(np.ascontiguousarray(mask_values).data)

    def hexdigest(self) -> str:
        """The digest of all rows so far, 32 hexadecimal digits."""
        parts = (self._id_lengths, self._ids, self._mask_lengths, self._masks)
        return blake2b(b"".join(part.digest() for part in parts), digest_size=_DIGEST_BYTES).hexdigest()


def rows_digest(ids: Sequence[str], tokens: Ragged) -> str:
    """The digest of a shard's rows as they came in, zeros included: 32 hexadecimal digits."""
    digest = RowsDigest()
    digest.update(ids, tokens.lengths, tokens.values != 0)
    return digest.hexdigest()
