"""JSON for programs that read what a command prints: numbers that JSON doesn't have become null."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any) -> str:
    """A value as JSON, in one line of ASCII characters.

    NaN and infinity, which Python's own `json` writes as words that other readers refuse, are null.

    Raises:
        TypeError: it contains something that JSON has no form for.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value
