"""A Celery consumer that no message can kill.

In stock Celery 5.7, one message of the wrong form ends a worker, returns to the queue, and ends the next one:

- An exception in Celery's own message handler ends the worker (https://github.com/celery/celery/issues/7975,
  https://github.com/celery/celery/issues/4308, both open).
- An entry of the queue that isn't JSON ends it earlier, in the transport, where no setting reaches. This is reported
  for another transport (https://github.com/celery/kombu/issues/2421, open); Redis's does the same.
- Anybody who can write to the queue can also make it run built-in tasks, send messages of their choice (callbacks), or
  open a small compressed body that decompresses to gigabytes.

Here a message that isn't a plain hint is acknowledged and put aside. Nothing is lost by that, because shards are in the
ledger. Compressed bodies are refused unopened, because this product sends none.

The guard overrides a private method of kombu and changes two of its registries, so celery and kombu are pinned to the
versions that it is tested with. Remove it piece by piece as releases fix the issues above.
"""

# Over 150 lines: everything that touches the inside of celery and kombu is in this file.

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any, cast

import celery.apps.worker
import redis
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu import compression
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, PrefixedStrictRedis, QoS, Transport

from unrolled.errors import PayloadError
from unrolled.process.signals import Echoes
from unrolled.queue.broker_url import without_secret
from unrolled.queue.member import Member
from unrolled.queue.messages import TASK
from unrolled.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

log = logging.getLogger(__name__)
_connected_log = logging.getLogger("celery.worker.consumer.connection")

#: The list, under the namespace, that keeps refused messages for people to look at; the oldest are removed first.
REFUSED = "refused"
KEPT_MESSAGES = 1000
KEPT_CHARACTERS = 4096
#: Largest message body that is accepted; a hint has about 100 bytes.
MAX_BODY_BYTES = 4096
#: Pause between two tries to reach the broker. `worker.runtime.heartbeat` logs the trouble, once.
RECONNECT_SECONDS = 1.0
_STANDARD_ERROR = 2
#: The signals to stop that this process has received.
_came: list[str] = []
_echoes = Echoes()
#: Headers that make Celery wait, expire a message, or do more than the task.
_UNUSED_HEADERS = ("eta", "expires", "group", "shadow", "stamped_headers", "compression")


class _Pace:
    """Lets the consumer begin again, quietly and with pauses if it does so often, as it does while the broker is full.

    In its place, Celery has a counter that lets it begin six times a second, and then logs a traceback as CRITICAL.
    `worker.runtime.heartbeat` logs the trouble, once.
    """

    def __init__(self) -> None:
        self._began = float("-inf")

    def step(self) -> None:
        """The consumer begins again now."""
        often = time.monotonic() - self._began < 2 * RECONNECT_SECONDS
        _connected_log.setLevel(logging.WARNING if often else logging.NOTSET)
        if often:
            time.sleep(RECONNECT_SECONDS)
        self._began = time.monotonic()


class GuardedConsumer(Consumer):  # type: ignore[misc]  # Celery is untyped
    """Celery's consumer, which puts refused messages aside and reconnects quickly."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]  # Celery is untyped
        """Celery's list of a consumer's parts."""

        def info(self, parent: Any) -> dict[str, Any]:
            """The facts that remote control shows, without the secret that a socket's URL may contain."""
            facts: dict[str, Any] = super().info(parent)
            if isinstance(facts.get("broker"), dict):  # otherwise it isn't connected
                facts["broker"]["hostname"] = without_secret(facts["broker"].get("hostname") or "")
            return facts

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._restart_state = _Pace()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes. Celery's own method waits longer each time, and logs each try."""
        conn = conn.ensure_connection(
            lambda *_: None, interval_start=RECONNECT_SECONDS, interval_step=0, callback=maybe_shutdown
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Pause before the next try. Celery doesn't pause if the broker answers with an error, and logs each one."""
        log.debug("the broker refuses: %s", exc)
        time.sleep(RECONNECT_SECONDS)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler, guarded."""
        handler = super().create_task_handler(*args, **kwargs)

        def guarded(message: Any) -> None:
            try:
                check_hint(message)
                handler(message)
            except (redis.RedisError, OSError):  # not kombu's own list of connection errors: it contains KeyError
                raise
            except Exception as error:  # noqa: BLE001 - none may reach the consumer's loop
                self.on_decode_error(message, error)

        return guarded

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Log why a message is refused, and put it aside."""
        log.error("message refused: %s: %s", type(exc).__name__, str(exc)[:200])
        if not message.acknowledged:
            _put_aside(message.channel, getattr(message, "_raw", None), exc)
            message.ack()


class GuardedQoS(QoS):
    """Kombu's list of messages that aren't acknowledged yet, for a connection that may be gone.

    When a server dies, Celery closes the connection twice, and later acknowledges the messages that it received through
    it. Both raise an AttributeError in kombu that would end the worker. Nothing needs to be done instead: the messages
    are still in Redis.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, unless the broker has gone."""
        if self._connected:
            try:
                super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu is untyped
            except (redis.RedisError, OSError) as error:  # Celery would log the traceback
                log.info("a message couldn't be acknowledged (%s); it comes again, which does no harm", error)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Refuse a message, or give it back."""
        if self._connected:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]  # kombu is untyped

    def restore_unacked(self, client: Any = None) -> None:
        """Give back all messages that aren't acknowledged."""
        if self._connected:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]  # kombu is untyped

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Give back messages that are old, from time to time; not while the broker is full, say."""
        try:
            super().restore_visible(*args, **options)  # type: ignore[no-untyped-call]  # kombu is untyped
        except redis.ResponseError as error:  # the next time does it; Celery would log the traceback
            log.debug("old messages couldn't be given back (%s)", error)

    @property
    def _connected(self) -> bool:
        transport = self.channel.connection
        return transport is not None and transport.client is not None


class GuardedClient(PrefixedStrictRedis):
    """Kombu's client, which keeps the entry that it took from a queue last, as it was there."""

    entry: bytes | None = None

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """The server's answer to a command."""
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]  # kombu is untyped
        if command_name == "BRPOP" and answer:
            self.entry = answer[1]
        return answer


class GuardedChannel(Channel):
    """Kombu's channel, which drops entries of the queue that it can't read as a message, and closes without waiting.

    Kombu's own waits until the server has answered the last BRPOP, which takes up to a second.
    """

    QoS = GuardedQoS
    _polling: tuple[object, int] | None = None  # the socket of BRPOP, and the server's number of its client

    def maybe_refresh_binding_expiry(self) -> None:
        """Keep the lists of Celery's own queues from expiring; not while the broker is full, say."""
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[no-untyped-call]  # kombu is untyped
        except redis.ResponseError as error:  # the next second does it; kombu would log the traceback
            log.debug("the lists of queues couldn't be kept (%s)", error)

    def _brpop_start(self, timeout: float | None = None) -> Any:
        connection = self.client.connection
        if self._polling is None or self._polling[0] is not connection._sock:  # noqa: SLF001 - it is new after each connect
            self._polling = None
            connection.send_command("CLIENT", "ID")
            with contextlib.suppress(redis.ResponseError):  # this user may not ask; then closing takes longer
                self._polling = connection._sock, int(connection.read_response())  # noqa: SLF001 - the present one
        return super()._brpop_start(timeout)  # type: ignore[no-untyped-call]  # kombu is untyped

    def close(self) -> None:
        """Close the channel. A message that the server has sent by then is given back to the queue."""
        if self._in_poll and self._polling:
            with contextlib.suppress(redis.RedisError, OSError), self.conn_or_acquire() as client:
                client.client_unblock(self._polling[1])
        super().close()  # type: ignore[no-untyped-call]  # kombu is untyped

    def _get_client(self) -> Any:
        return partial(GuardedClient, global_keyprefix=self.global_keyprefix)

    def _brpop_read(self, **options: Any) -> Any:
        self.client.entry = None
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu is untyped
        except redis.DataError as error:  # caused by the entry, not by the broker: its delivery tag is null
            self._drop(error)
            raise Empty from error
        except (redis.RedisError, OSError, Empty):
            raise
        except Exception as error:
            self._drop(error)
            raise Empty from error

    def _drop(self, error: Exception) -> None:
        """Log why the entry that was read is no message, and put it aside; the queue doesn't have it any more."""
        log.error("an entry of the queue is no message; dropped: %s", repr(error)[:200])
        with contextlib.suppress(redis.RedisError, OSError):  # then only the log tells of it
            _put_aside(self, (self.client.entry or b"")[:KEPT_CHARACTERS], error)


class GuardedTransport(Transport):
    """Kombu's Redis transport with the guarded channel."""

    Channel = GuardedChannel

    def establish_connection(self) -> Any:
        """Connect, unless this worker has to stop: in places, kombu tries again without end, whatever signals come."""
        if threading.current_thread() is threading.main_thread():  # shards are given back in others
            maybe_shutdown()
        return super().establish_connection()  # type: ignore[no-untyped-call]  # kombu is untyped


def check_hint(message: Any) -> None:
    """Let a message pass if it names one shard and asks for nothing else.

    Raises:
        PayloadError: it is of another kind, or asks for more.
        Exception: any kind, raised by kombu for a body that it can't decode.
    """
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        found = headers.get("task") if isinstance(headers, dict) else headers
        raise PayloadError(f"task {str(found)[:80]!r}; this worker runs {TASK} only")
    if found := [name for name in _UNUSED_HEADERS if headers.get(name)]:
        raise PayloadError(f"the header {found[0]} is set; a hint has none of it")
    if headers.get("timelimit") not in (None, [None, None]):
        raise PayloadError("a time limit is set; a hint has none")
    if not isinstance(headers.get("id"), str):
        raise PayloadError(f"message id {str(headers.get('id'))[:80]!r}; a string is expected")
    if len(message.body) > MAX_BODY_BYTES:
        raise PayloadError(f"a body of {len(message.body):,} bytes; a hint has {MAX_BODY_BYTES:,} at most")
    match message.payload:
        case [[_, _] as values, {} as options, {} as extras] if not options and not any(extras.values()):
            Member.decode(values)
        case _:
            raise PayloadError("the body is not [[job key, life of a shard], {}, {}]; callbacks are refused too")


def _put_aside(channel: Any, found: object, error: Exception) -> None:
    # As Python and JSON write it: what a stranger has sent can't reach the terminal of those who look at it.
    text = json.dumps({"why": repr(error)[:200], "message": repr(found)[:KEPT_CHARACTERS]})
    with channel.conn_or_acquire() as client:
        # Not LTRIM, because kombu doesn't put the namespace before its key.
        if client.lpush(REFUSED, text) > KEPT_MESSAGES:
            client.rpop(REFUSED)


def guard_signals() -> None:
    """Make SIGTERM, SIGHUP, SIGQUIT and Ctrl-C end this worker in the same way: with status 0, in its own words.

    Celery's own Ctrl-C has exit status 1, and announces that a second one kills the shards on board: here it gives them
    back, as a second SIGTERM does. Celery's SIGHUP starts the program again, but not while it computes, and its SIGQUIT
    fails then. What Celery itself announces goes to the log, too.
    """
    celery.apps.worker.safe_say = _announce
    for name, signal_names in (
        ("restart", ()),
        ("term", ("SIGTERM", "SIGHUP")),
        ("term_hard", ("SIGQUIT",)),
        ("int", ("SIGINT",)),
    ):
        setattr(celery.apps.worker, f"install_worker_{name}_handler", partial(_install_handlers, signal_names))


def _install_handlers(signal_names: tuple[str, ...], worker: Any) -> None:
    for name in signal_names:
        if name != "SIGHUP" or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which it is under nohup
            _install_handler(name, worker)


def _install_handler(signal_name: str, worker: Any) -> None:
    def say(_: object) -> None:
        again = bool(_came)
        _came.append(signal_name)  # first of all: another signal may interrupt this one's handler
        if again:
            _announce(f"stopping immediately after another signal ({signal_name})")
        else:
            _announce(f"stopping after {signal_name}; a second signal gives back its shards immediately")

    celery.apps.worker._shutdown_handler(worker, signal_name, "Warm", callback=say, verbose=False)  # noqa: SLF001 - Celery has no other way
    handle = cast("Callable[..., None]", signal.getsignal(signal.Signals[signal_name]))

    def handle_but_echoes(number: int, frame: FrameType | None) -> None:
        if not _echoes.is_one(number):
            handle(number, frame)

    signal.signal(signal.Signals[signal_name], handle_but_echoes)


def _announce(message: str, *_: object) -> None:
    """Log a line from a signal handler, where no lock may be taken, and so no logger used."""
    if logging.root.level > logging.INFO:
        return
    with contextlib.suppress(OSError):  # its reader may have gone
        if json_log.is_active():
            os.write(_STANDARD_ERROR, json_log.line_of("INFO", message.strip()).encode())
            return
        start = "\r\x1b[K" if os.isatty(_STANDARD_ERROR) else ""  # a terminal shows ^C there
        now = time.strftime("%Y-%m-%d %H:%M:%S") + f",{int(time.time() * 1000) % 1000:03d}"
        os.write(_STANDARD_ERROR, f"{start}{now} INFO {__name__}: {message.strip()}\n".encode())


def guard_transport() -> None:
    """Make kombu use the guarded transport in this process, and refuse compressed messages."""

    def refuse(*_: object) -> bytes:
        raise ValueError("compressed messages are refused; nothing of this product is compressed")

    for content_type in list(compression.encoders()):  # type: ignore[no-untyped-call]  # kombu is untyped
        compression.register(refuse, refuse, content_type)  # type: ignore[no-untyped-call]  # kombu is untyped
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:GuardedTransport"
