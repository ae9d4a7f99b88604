"""Compose files, and the official schema of their kind."""

import json
from importlib.resources import files
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())


def load(name):
    return yaml.safe_load((ROOT / name).read_text())


def merge(below, above):
    """What compose makes of two files, as far as ours go: mappings are merged, the rest is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: merge(below.get(key), above.get(key, below.get(key))) for key in below | above}
    return above
