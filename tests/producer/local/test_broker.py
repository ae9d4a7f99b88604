"""The embedded broker: a real server each time, and real kills."""

import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection
from support.broker import RestartableBroker
from support.processes import REPOSITORY, eventually
from support.shell import gone

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
    """Only its owner can reach the socket."""
    path = Path(client_url(broker.url).removeprefix("unix://"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_celery_form(broker):
    """Kombu sends and receives over the address as given."""
    with Connection(broker.url) as connection, connection.SimpleQueue("words") as queue:
        queue.put("unrolled")
        message = queue.get(timeout=60)
        message.ack()
        assert message.payload == "unrolled"


def test_killed_server_keeps_its_data(broker):
    """What was acknowledged before a kill -9 survives the restart, and the address stays."""
    with client_of(broker) as client:
        client.set("before", "kept")
        url = broker.url
        broker.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        broker.start()
        assert broker.url == url
        assert client.get("before") == "kept"


def test_a_server_that_ends_by_itself_is_reported():
    """`run` would wait for its return for ever; an end on purpose is none."""
    ended = []
    with EmbeddedBroker() as broker:
        broker.watch(ended.append)
    with EmbeddedBroker() as broker:
        broker.watch(ended.append)
        with client_of(broker) as client:
            os.kill(client.info()["process_id"], signal.SIGKILL)
        eventually(lambda: ended, "the report")
    [error] = ended
    assert "the embedded broker ended with status -9; " in str(error)


def test_a_limit_of_the_size_of_files_is_named():
    """Which ends a server by a signal; free space has nothing to do with it."""
    ended = []
    with EmbeddedBroker() as broker:
        broker.watch(ended.append)
        with client_of(broker) as client:
            resource.prlimit(client.info()["process_id"], resource.RLIMIT_FSIZE, (4096, 4096))
            with pytest.raises(redis.ConnectionError):
                client.set("name", b"x" * 10_000)
        eventually(lambda: ended, "the report")
    [error] = ended
    assert str(error) == (
        "the limit of the size of files ended the embedded broker: raise it, with `ulimit -f unlimited`; the same "
        "command then goes on from here"
    )


def test_restart(broker):
    """A restart keeps the data or drops it, as asked."""
    with client_of(broker) as client:
        client.set("name", "value")
        broker.restart()
        assert client.get("name") == "value"
        broker.restart(keep_data=False)
        assert client.dbsize() == 0


def test_server_that_died_by_itself(broker):
    """After an unexpected crash, stopping and starting work as before."""
    os.kill(broker.process_id, signal.SIGKILL)
    broker.restart()
    with client_of(broker) as client:
        assert client.ping()


def test_stop_leaves_nothing():
    """After the end there is neither a process nor a file."""
    before = psutil.Process().children(recursive=True)  # of earlier tests
    with EmbeddedBroker() as broker:
        children = set(psutil.Process().children(recursive=True)).difference(before)
        scratch = Path(client_url(broker.url).removeprefix("unix://")).parent
        assert scratch.is_dir()
    assert children
    assert not [child for child in children if child.is_running()]
    assert not scratch.exists()
    with pytest.raises(UnrolledError, match="not running"):
        _ = broker.url


@pytest.mark.parametrize("name", ["a b", "it's", "ü%20", "long" * 50])
def test_temporary_directory_names(tmp_path, monkeypatch, name):
    """So will any temporary directory; where its path is too long for a socket, /tmp is used."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with EmbeddedBroker() as broker, client_of(broker) as client, Connection(broker.url) as connection:
        assert client.ping()
        assert connection.ensure_connection(max_retries=1)
    assert not list((tmp_path / name).iterdir())


def test_corrupt_data(tmp_path):
    """A server that can't load its data ends the start at once, with the reason from its log."""
    with RestartableBroker(tmp_path) as broker, client_of(broker) as client:
        client.set("name", "value")
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"garbage")
    children = psutil.Process().children(recursive=True)
    with pytest.raises(UnrolledError, match=r"Bad file format"):
        RestartableBroker(tmp_path).start()
    assert psutil.Process().children(recursive=True) == children


def test_no_server_program(monkeypatch):
    """Without any server the error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnrolledError, match=r"pip install .*\[producer\]"):
        server_program()


def test_server_on_path(monkeypatch, tmp_path):
    """Without the wheel, a server on PATH is used."""
    (tmp_path / "redis-server").symlink_to(server_program())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server_program() == tmp_path / "redis-server"
    with EmbeddedBroker() as broker:
        assert broker.url


def test_killed_owner():
    """When the owner is killed with -9, the server ends and its files go."""
    owner_code = textwrap.dedent(
        """
        import sys, threading
        from producer.local.broker import EmbeddedBroker
        broker = EmbeddedBroker()
        starter = threading.Thread(target=broker.__enter__)
        starter.start()
        starter.join()  # the end of the thread that started the server is not the end of the owner
        print(broker._server.pid, broker.url, flush=True)
        sys.stdin.read()
        """
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", owner_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    process_id, url = owner.stdout.readline().split()
    server = psutil.Process(int(process_id))
    scratch = Path(client_url(url).removeprefix("unix://")).parent
    assert scratch.is_dir()
    owner.kill()
    owner.communicate()
    eventually(lambda: not scratch.exists() and gone([server]), "nothing left")


def test_interrupt_spares_the_server():
    """Ctrl-C reaches the owner's process group; the server is not in it."""
    before = psutil.Process().children()  # of earlier tests
    with EmbeddedBroker():
        children = set(psutil.Process().children()).difference(before)
        assert children
        assert all(os.getpgid(child.pid) != os.getpgid(0) for child in children)


def test_stubborn_server_is_killed(broker, monkeypatch):
    """A server that doesn't react is killed once its time is over."""
    monkeypatch.setattr("producer.local.broker.STOP_SECONDS", 0.1)
    server = psutil.Process(broker.process_id)
    server.suspend()
    broker.stop()
    assert not server.is_running()
