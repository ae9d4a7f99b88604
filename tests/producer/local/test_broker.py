"""The embedded broker: a real server each time, and real kills."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection

from producer.local.broker import EmbeddedBroker
from producer.local.broker_host import server_program
from unrolled.errors import UnrolledError
from unrolled.queue.broker_url import client_url


@contextmanager
def client_of(broker):
    client = redis.Redis.from_url(client_url(broker.url), decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def test_settings(broker):
    """The server keeps every acknowledged write, evicts nothing, and takes no connection over the network."""
    with client_of(broker) as client:
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
        assert expected == {name: client.config_get(name)[name] for name in expected}


def test_socket_is_private(broker):
    """Nobody but its owner can reach the socket."""
    path = Path(client_url(broker.url).removeprefix("unix://"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_celery_form(broker):
    """Kombu sends and receives over the address as given."""
    with Connection(broker.url) as connection, connection.SimpleQueue("words") as queue:
        queue.put("unrolled")
        message = queue.get(timeout=5)
        message.ack()
        assert message.payload == "unrolled"


def test_tcp():
    """On a TCP port the server listens on the loopback address alone, and comes back at the same port."""
    with EmbeddedBroker(port=0) as broker:
        url = broker.url
        listening = [c.laddr.ip for c in psutil.Process(broker.process_id).net_connections() if c.status == "LISTEN"]
        assert listening == ["127.0.0.1"]
        broker.restart()
        assert broker.url == url


def test_taken_port():
    """A stranger at the port is not taken for our server, and the error quotes our server's log."""
    with EmbeddedBroker(port=0) as first:
        port = int(first.url.rsplit(":", 1)[1].removesuffix("/0"))
        second = EmbeddedBroker(port=port)
        with pytest.raises(UnrolledError, match=r"ended with status 1(?s:.*)Address already in use"):
            second.start()


def test_killed_server_keeps_its_data(broker):
    """What was acknowledged before a kill -9 is there after the restart, at the same address."""
    with client_of(broker) as client:
        client.set("before", "kept")
        url = broker.url
        broker.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        broker.start()
        assert broker.url == url
        assert client.get("before") == "kept"


def test_restart(broker):
    """A restart keeps the data or drops it, as asked."""
    with client_of(broker) as client:
        client.set("name", "value")
        broker.restart()
        assert client.get("name") == "value"
        broker.restart(keep_data=False)
        assert client.dbsize() == 0


def test_server_that_died_by_itself(broker):
    """After a crash nobody asked for, stopping and starting work as ever."""
    os.kill(broker.process_id, signal.SIGKILL)
    broker.restart()
    with client_of(broker) as client:
        assert client.ping()


def test_stop_leaves_nothing():
    """After the end there is neither a process nor a file, and stopping again does nothing."""
    broker = EmbeddedBroker()
    broker.start()
    children = psutil.Process().children(recursive=True)
    scratch = broker.directory.parent
    assert scratch.is_dir()
    broker.stop()
    broker.stop()
    assert not [child for child in children if child.is_running()]
    assert not scratch.exists()
    with pytest.raises(UnrolledError, match="not running"):
        _ = broker.url


@pytest.mark.parametrize("name", ["a b", 'it\'s "so"', "new\nline", "ünï", "%20", "-x", "long" * 50])
def test_directory_names(tmp_path, name):
    """Any directory will do: blanks, quotes, line ends, percent signs, paths too long for a socket."""
    directory = tmp_path / name
    with EmbeddedBroker(directory) as broker, client_of(broker) as client:
        client.set("name", "value")
    with EmbeddedBroker(directory) as broker, client_of(broker) as client:
        assert client.get("name") == "value"


@pytest.mark.parametrize("name", ["a b", "it's", "ü%20", "long" * 50])
def test_temporary_directory_names(tmp_path, monkeypatch, name):
    """So will any temporary directory; where its path is too long for a socket, /tmp is used."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with EmbeddedBroker() as broker, client_of(broker) as client, Connection(broker.url) as connection:
        assert client.ping()
        assert connection.ensure_connection(max_retries=1)
    assert not list((tmp_path / name).iterdir())


def test_relative_directory(tmp_path, monkeypatch):
    """A relative directory is the one under the working directory."""
    monkeypatch.chdir(tmp_path)
    with EmbeddedBroker(Path("data")) as broker:
        assert (tmp_path / "data" / "appendonlydir").is_dir()
        assert broker.url


def test_one_server_per_directory(tmp_path):
    """Two servers never write one append-only file."""
    with EmbeddedBroker(tmp_path):
        second = EmbeddedBroker(tmp_path, start_seconds=0)
        with pytest.raises(UnrolledError, match="another broker is running on"):
            second.start()


def test_unusable_directory(tmp_path):
    """A file in the directory's place is named in the error."""
    (tmp_path / "file").touch()
    with pytest.raises(UnrolledError, match=r"can't be started: .*file"):
        EmbeddedBroker(tmp_path / "file").start()


def test_corrupt_data(tmp_path):
    """A server that can't load its data ends the start at once, with the reason from its log."""
    with EmbeddedBroker(tmp_path) as broker, client_of(broker) as client:
        client.set("name", "value")
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"garbage")
    children = psutil.Process().children(recursive=True)
    with pytest.raises(UnrolledError, match=r"Bad file format"):
        EmbeddedBroker(tmp_path).start()
    assert psutil.Process().children(recursive=True) == children


def test_no_server_program(monkeypatch):
    """Without any server the error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnrolledError, match=r"pip install 'unrolled\[producer\]'"):
        server_program()


def test_server_on_path(monkeypatch, tmp_path):
    """Without the wheel, a server on PATH is used."""
    (tmp_path / "redis-server").symlink_to(server_program())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server_program() == tmp_path / "redis-server"
    with EmbeddedBroker() as broker:
        assert broker.url


def test_killed_owner(tmp_path):
    """When the owner is killed with -9, the server ends, what is temporary goes and the data stays good."""
    owner_code = textwrap.dedent(
        """
        import pathlib, sys, threading
        from producer.local.broker import EmbeddedBroker
        broker = EmbeddedBroker(pathlib.Path(sys.argv[1]))
        starter = threading.Thread(target=broker.start)
        starter.start()
        starter.join()  # the end of the thread that started the server is not the end of the owner
        print(broker.process_id, broker.url, flush=True)
        sys.stdin.read()
        """
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", owner_code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process_id, url = owner.stdout.readline().split()
    server = psutil.Process(int(process_id))
    client = redis.Redis.from_url(client_url(url), decode_responses=True)
    client.set("name", "value")
    client.close()
    owner.kill()
    owner.communicate()
    with EmbeddedBroker(tmp_path, start_seconds=5) as successor, client_of(successor) as client:
        assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
        assert client.get("name") == "value"
    scratch = Path(client_url(url).removeprefix("unix://")).parent
    deadline = time.monotonic() + 20
    while scratch.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not scratch.exists()


def test_interrupt_spares_the_server():
    """Ctrl-C reaches the owner's process group; the server is not in it."""
    with EmbeddedBroker() as broker:
        assert os.getpgid(broker.process_id) != os.getpgid(0)


def test_stubborn_server_is_killed(broker):
    """A server that doesn't react is killed once its time is over."""
    server = psutil.Process(broker.process_id)
    broker._stop_seconds = 0.1
    server.suspend()
    broker.stop()
    assert not server.is_running()


def test_free_port_is_usable_by_others_afterwards():
    """Nothing holds the port after the end."""
    with EmbeddedBroker(port=0) as broker:
        port = int(broker.url.rsplit(":", 1)[1].removesuffix("/0"))
    with socket.create_server(("127.0.0.1", port)):
        pass
