"""What makes a job this job: model, inputs and options."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """What distinguishes a job from others; it doesn't depend on the machine or the directory.

    Attributes:
        fingerprint: of the model.
        inputs: as the user named them.
        options: every option that changes rows, shards or parts.
    """

    fingerprint: str
    inputs: tuple[str, ...]
    options: dict[str, Any]

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits of a hash over all attributes; stored in every part."""
        text = json.dumps([self.fingerprint, self.inputs, self.options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
