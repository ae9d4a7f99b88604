"""The Lua scripts: heads that name what is passed."""

import re
from dataclasses import fields
from importlib.resources import files

import pytest
import redis

from unrolled.queue.broker_url import client_url
from unrolled.queue.keys import Keys
from unrolled.queue.scripts import Scripts, read_script

KEYS = Keys.of("unrolled", "ab" * 32)
NAMES = sorted(
    file.name.removesuffix(".lua")
    for file in files("unrolled.queue").joinpath("scripts").iterdir()
    if file.name.endswith(".lua")
)


def test_keys():
    """Keys are under the namespace and the model's first digits; what the models share has no digits."""
    assert KEYS.ledger == "unrolled:abababababab:ledger"
    assert KEYS.queue == "unrolled:shards.abababababab"
    assert (KEYS.models, KEYS.workers) == ("unrolled:models", "unrolled:workers")
    assert len({getattr(KEYS, field.name) for field in fields(Keys)}) == len(fields(Keys))


@pytest.mark.parametrize("name", NAMES)
def test_heads(name):
    """A script says what it does and returns, names keys that there are, and uses each of its names."""
    source, keys, arguments = read_script(name)
    assert "-- Return " in source.partition("local ")[0]
    body = source.partition("unpack(ARGV)")[2]
    assert {*keys} <= {field.name for field in fields(Keys)}
    assert [each for each in (*keys, *arguments) if not re.search(rf"\b{each}\b", body)] == []
    assert "KEYS[" not in source


def test_arguments_are_checked(broker_url):
    """One that the script doesn't name, or one that is missing, is a mistake of the caller's."""
    with redis.Redis.from_url(client_url(broker_url)) as client:
        scripts = Scripts(client, KEYS)
        assert scripts.run("remove", member="x") == 0
        with pytest.raises(TypeError, match=r"remove.lua takes member; not holder"):
            scripts.run("remove", member="x", holder="y")
        with pytest.raises(KeyError, match="member"):
            scripts.run("remove")
