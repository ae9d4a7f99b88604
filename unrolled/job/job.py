"""What makes a job this job: model, inputs and options."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """What makes a job this job and no other; the same on every machine and in every directory.

    Attributes:
        fingerprint: of the model.
        inputs: as the user named them.
        options: every option that changes rows, cuts or files.
    """

    fingerprint: str
    inputs: tuple[str, ...]
    options: dict[str, Any]

    @property
    def id(self) -> str:
        """Sixteen hex digits over all of it; stored in every file."""
        text = json.dumps([self.fingerprint, self.inputs, self.options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
