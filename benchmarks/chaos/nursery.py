"""Starts a round's processes by forking one that has imported the product: most of a process's start is its imports.

The nursery is forked from the round's process before that has threads, and stays without any. It serves a socket: each
request is JSON, with the process's standard input beside it, and each answer is JSON too: a process that has started,
or one that has ended.
"""

# Over 150 lines: both ends of one conversation.

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Self

#: What the product's processes import, but for TensorFlow, which takes long and must not be there before a fork.
MODULES = (
    "producer.cli.root", "producer.cli.commands.compute.enqueue", "producer.cli.commands.watch.wait",
    "producer.cli.commands.intervene.retry", "producer.cli.commands.intervene.cancel", "producer.enqueue.session",
    "producer.jobs.wait", "producer.terminal.progress", "worker.app", "worker.cli.worker", "worker.celery_guard",
    "celery.apps.worker", "celery.bin.worker", "celery.concurrency.thread", "celery.worker.components",
    "kombu.transport.redis", "pyarrow.parquet", "numpy", "rich.live", "unrolled.store.bucket",
)  # fmt: skip
_TICK_SECONDS = 0.02
_REQUEST_BYTES = 1 << 17


class Hatched:
    """A process that the nursery has started; used like `subprocess.Popen`.

    Attributes:
        pid: of the process.
        returncode: its exit status, negative for the signal that ended it; None until it is known to have ended.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        """The exit status, as far as it is known."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status.

        Raises:
            subprocess.TimeoutExpired: it hasn't ended in time.
        """
        if not self.ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode


class Nursery:
    """A process that starts others. It ends with its `with` block, and doesn't end what it has started.

    Make it before all threads, and before pipes whose ends would stay open in what it starts.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if not self._pid:
            self._socket.close()
            try:
                _serve(theirs)
            finally:
                os._exit(1)
        theirs.close()
        self._hatched: dict[int, Hatched] = {}
        self._born: list[int] = []
        self._news = threading.Condition()
        self._starting = threading.Lock()
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()

    def start(self, command: list[str], environment: dict[str, str], directory: Path, log: Path, stdin: int) -> Hatched:
        """Start a Python process.

        Args:
            command: an interpreter, and what it runs: a file, or -m and a module; then the arguments.
            environment: all of its variables.
            directory: in which it works.
            log: gets what it says.
            stdin: descriptor of its standard input.
        """
        request = {"words": command[1:], "environment": environment, "directory": str(directory), "log": str(log)}
        with self._starting, self._news:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [stdin])
            if not self._news.wait_for(lambda: self._born, timeout=60):
                raise TimeoutError("the nursery starts nothing")
            return self._hatched[self._born.pop()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _listen(self) -> None:
        while answer := self._receive():
            found = json.loads(answer)
            with self._news:
                if "status" in found:
                    hatched = self._hatched[found["pid"]]
                    hatched.returncode = found["status"]
                    hatched.ended.set()
                else:
                    self._hatched[found["pid"]] = Hatched(found["pid"])
                    self._born.append(found["pid"])
                    self._news.notify_all()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_REQUEST_BYTES)
        except OSError:  # it ended with a request unread
            return b""


def _serve(requests: socket.socket) -> None:
    """Start the processes that are asked for, and report those that have ended, until the other side is gone."""
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([requests], [], [], _TICK_SECONDS)
        if ready:
            content, descriptors, *_ = socket.recv_fds(requests, _REQUEST_BYTES, 1)
            if not content:
                return
            if not (pid := os.fork()):
                requests.close()
                _become(json.loads(content), descriptors[0])
            os.close(descriptors[0])
            running.add(pid)
            requests.send(json.dumps({"pid": pid}).encode())
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                requests.send(json.dumps({"pid": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _become(request: dict[str, Any], stdin: int) -> None:
    """Be the process that was asked for, to its end."""
    status = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for source, target in ((stdin, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        random.seed()
        status = _run(request["words"])
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as the interpreter does at its end
        atexit._run_exitfuncs()  # noqa: SLF001 - as the interpreter does at its end
    except BaseException:  # noqa: BLE001 - nothing may go on as the nursery
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _run(words: list[str]) -> int:
    """Run a module or a file as the main program; its exit status."""
    is_module = words[0] == "-m"
    sys.argv = words[1:] if is_module else words
    try:
        if is_module:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def preload() -> None:
    """Import what the processes will need, once for all rounds."""
    for module in MODULES:
        importlib.import_module(module)
