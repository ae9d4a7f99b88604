"""A Celery consumer that no message can kill.

Stock Celery lets an exception of its own message handler end the worker; the message then goes back to the queue and
ends the next one. Here such a message is acknowledged and put aside, for a message is only a hint.
Compressed bodies are refused before they are opened: nothing of ours is compressed, and a small one can
decompress to gigabytes.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from celery.worker.consumer import Consumer
from kombu import compression

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: The list, under the namespace, in which refused messages are kept for a look; the oldest go first.
REFUSED = "refused"
KEPT_MESSAGES = 1000
KEPT_CHARACTERS = 4096


class GuardedConsumer(Consumer):
    """Celery's consumer, with refused messages put aside."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, guarded."""
        handler = super().create_task_handler(*args, **kwargs)

        def guarded(message: Any) -> None:
            try:
                handler(message)
            except self.connection_errors:
                raise
            except Exception as error:  # noqa: BLE001 - any kind must not reach the consumer's loop
                log.error("message refused: %s: %s", type(error).__name__, str(error)[:200])
                if not message.acknowledged:
                    _put_aside(message, error)
                    message.ack()

        return guarded


def _put_aside(message: Any, error: Exception) -> None:
    text = json.dumps({"why": repr(error)[:200], "message": repr(getattr(message, "_raw", None))[:KEPT_CHARACTERS]})
    with message.channel.conn_or_acquire() as client:
        client.lpush(REFUSED, text)
        client.ltrim(REFUSED, 0, KEPT_MESSAGES - 1)


def refuse_compression() -> None:
    """Replace every decompressor of this process's kombu by one that refuses."""

    def refuse(*_: object) -> bytes:
        raise ValueError("compressed messages are refused; nothing of this product is compressed")

    for content_type in list(compression.encoders()):
        compression.register(refuse, refuse, content_type)
