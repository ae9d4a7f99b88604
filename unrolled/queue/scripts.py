"""Running the Lua scripts in scripts/*.lua. Redis runs each script as a whole or not at all.

The head of a script names the keys and arguments to pass:

    local ledger, tokens = unpack(KEYS)
    local member, size = unpack(ARGV)
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

    from unrolled.queue.keys import Keys

_HEAD = re.compile(r"^local ([a-z_, ]+) = unpack\(KEYS\)\nlocal ([a-z_, ]+) = unpack\(ARGV\)$", re.MULTILINE)


class Scripts:
    """The scripts of one ledger.

    Args:
        client: a client of Redis.
        keys: the ledger's keys.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._registered: dict[str, Any] = {}

    def run(self, name: str, *rest: object, **arguments: object) -> Any:
        """Run a script, and return its result.

        Args:
            name: the name of its file, without `.lua`.
            rest: more arguments, after the named ones.
            arguments: the arguments named in the script's head.

        Raises:
            redis.RedisError: the server is away, or can't run the script now.
        """
        source, key_names, argument_names = read_script(name)
        if name not in self._registered:
            self._registered[name] = self._client.register_script(source)
        keys = [getattr(self._keys, key) for key in key_names]
        values = [arguments.pop(argument) for argument in argument_names]
        if arguments:
            raise TypeError(f"{name}.lua takes {', '.join(argument_names)}; not {', '.join(arguments)}")
        return self._registered[name](keys=keys, args=[*values, *rest])


@cache
def read_script(name: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Read a script: its text, and the names of its keys and of its arguments, in order."""
    source = files("unrolled.queue").joinpath("scripts", f"{name}.lua").read_text("utf-8")
    head = _HEAD.search(source)
    if head is None:
        raise ValueError(f"{name}.lua: its head doesn't name its keys and arguments")
    return source, tuple(head[1].split(", ")), tuple(head[2].split(", "))
