"""An offer: one model, computed by one family of engines in one arithmetic. Jobs ask for one, workers make one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

from unrolled.errors import OptionError

EngineName = Literal["fused", "tensorflow"]
Arithmetic = Literal["float32", "bfloat16", "bfloat16x3"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)
#: How many hexadecimal digits of the fingerprint are used in the names of queues and keys.
SHORT = 12
_TEXT = re.compile(rf"([0-9a-f]{{64}}):({'|'.join(ENGINES)}):({'|'.join(ARITHMETICS)})")


@dataclass(frozen=True, order=True, slots=True)
class Offer:
    """The way in which a job is computed. Each offer has a queue, so a worker gets only shards that it can compute.

    Attributes:
        fingerprint: the model's fingerprint, 64 hexadecimal digits.
        engine: the family of engines: another family rounds differently.
        arithmetic: the arithmetic in which the job is computed.

    Raises:
        OptionError: the engine doesn't have the arithmetic.
    """

    fingerprint: str
    engine: EngineName
    arithmetic: Arithmetic

    def __post_init__(self) -> None:
        if self.engine == "tensorflow" and self.arithmetic != "float32":
            raise OptionError(
                f"arithmetic {self.arithmetic} with engine tensorflow; that engine has float32, fused has "
                f"{', '.join(ARITHMETICS)}: choose another engine or arithmetic"
            )

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the text that `str()` gives; None for any other."""
        found = _TEXT.fullmatch(text)
        try:
            return cls(found[1], found[2], found[3]) if found else None  # type: ignore[arg-type]  # the pattern's own
        except OptionError:
            return None

    def __str__(self) -> str:
        return f"{self.fingerprint}:{self.engine}:{self.arithmetic}"

    @property
    def short(self) -> str:
        """The text that names its keys and its queue in Redis: "0123456789ab-fused-float32"."""
        return f"{self.fingerprint[:SHORT]}-{self.engine}-{self.arithmetic}"

    def describe(self) -> str:
        """The offer, for people."""
        return f"model {self.fingerprint[:SHORT]}… in {self.arithmetic} by {self.engine}"
