"""Padding that a model computes: it was trained on rows of one length, and no mask hid their padding."""

from dataclasses import dataclass
from typing import Self

from unrolled.errors import ModelError
from unrolled.model.checks import check_names, check_number

AFTER, BEFORE = SIDES = ("after", "before")
LARGEST_PADDED_LENGTH = 2**20


@dataclass(frozen=True, slots=True)
class Padding:
    """How each row of a model is padded before it is computed. No vector of padding is ever stored or pooled.

    Attributes:
        length: tokens in a padded row. Longer rows can't be computed.
        side: whether padding is put "after" a row's tokens or "before" them.
        id: id of a padding token: one of the model's ids, or 0 for row 0 of the embedding; of a model that reads ids
            as one-hot vectors, 0 is a vector of zeros.

    Raises:
        ModelError: a value is not allowed.
    """

    length: int
    side: str = AFTER
    id: int = 0

    def __post_init__(self) -> None:
        check_number("padding", "length", self.length, LARGEST_PADDED_LENGTH)
        if self.side not in SIDES:
            raise ModelError(f"padding: side is {self.side!r:.80}; give one of {', '.join(SIDES)}")
        if type(self.id) is not int or self.id < 0:
            raise ModelError(f"padding: id is {self.id!r:.80}; give 0 or one of the model's ids")

    @classmethod
    def from_json(cls, found: object) -> Self:
        """Read it from the object in config.json.

        Raises:
            ModelError: it isn't one.
        """
        if not isinstance(found, dict):
            raise ModelError(f"model: padding is {found!r:.80}; it must be an object")
        check_names(cls, found, "padding")
        return cls(**found)

    def real(self, length: int) -> slice:
        """The steps of a padded row that are its real tokens."""
        return slice(length) if self.side == AFTER else slice(self.length - length, self.length)

    def matters(self, directions: set[str]) -> bool:
        """Whether padding can change the vectors of tokens in layers that read in these directions."""
        return directions != {"forward" if self.side == AFTER else "backward"}

    def why_too_long(self, length: int) -> str:
        """The reason why a row can't be computed."""
        return (
            f"the row has {length:,} tokens, and the model reads at most {self.length:,}: it was trained on rows that "
            f"are padded to {self.length:,} tokens; cut the row"
        )

    def __str__(self) -> str:
        of = "row 0" if self.id == 0 else f"id {self.id}"
        return f"to {self.length:,} tokens with {of}, {self.side} the tokens"
