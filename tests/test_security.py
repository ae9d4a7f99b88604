"""Passwords, users with few rights, and TLS, with real servers, workers and commands."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import redis
from click.testing import CliRunner
from jobs import bury
from kombu import Connection
from processes import NAMESPACE, PATIENCE_SECONDS, Site, check_outputs, eventually, make_model, make_rows, open_site
from tls_proxy import TlsProxy, authority

from producer.broker import EmbeddedBroker
from producer.cli import cli
from producer.queue import ShardQueue
from unrolled.connection import client_url
from unrolled.job import open_job
from unrolled.messages import member_of

REPOSITORY = Path(__file__).parent.parent
USERS = REPOSITORY / "docs" / "redis-acl.conf"
OTHER = "other"
#: Each has what must be percent-encoded in a URL.
PASSWORDS = {"ADMIN": "adm1n@:/#", "PRODUCER": "s3cr3t@:/#%?&=+ ü", "WORKER": "w0rk%2Fer:@h/0?x=#y"}
WRONG = "wr0ng@:/#%41ü"


class GuardedBroker(EmbeddedBroker):
    """A server that lets nobody in without a name and a password.

    Args:
        users: a configuration that names them.
        socket: listen on a Unix socket in place of TCP.
    """

    def __init__(self, users: Path, *, socket: bool = False) -> None:
        super().__init__(port=None if socket else 0)
        self._users = users

    def _options(self):
        return [str(self._users), *super()._options()]

    def _ping(self):
        """The wheel's own question is refused, which is an answer too."""
        with contextlib.suppress(redis.ConnectionError):
            redis.Redis.from_url(client_url(self.url)).ping()
        try:
            redis.Redis.from_url(client_url(self.url)).ping()
        except redis.AuthenticationError:
            return b"+PONG\r\n"
        except redis.ConnectionError:
            return b""
        raise AssertionError("the server lets anybody in")

    def url_of(self, user: str, password: str | None = None) -> str:
        """The address for a user, in Celery's form."""
        login = f"{user}:{quote(password or PASSWORDS[user.rpartition('-')[2].upper()], safe='')}"
        return self.url.replace("://", f"://{login}@")

    def admin(self) -> redis.Redis:
        return redis.Redis.from_url(client_url(self.url_of("admin")), decode_responses=True)

    def denials(self) -> list[tuple[str, str, str]]:
        """What any user tried and was denied since the server's start."""
        with self.admin() as client:
            return [(entry["username"], entry["reason"], entry["object"]) for entry in client.acl_log(count=100)]


def write_users(path: Path, *namespaces: str) -> Path:
    """The documented users with passwords filled in, and each namespace's own."""
    text = USERS.read_text()
    for word, password in PASSWORDS.items():
        text = text.replace(f"{word}_SHA256", hashlib.sha256(password.encode()).hexdigest())
    lines = text.splitlines()
    own = [line for line in lines if line.startswith("user unrolled-")]
    copies = [line.replace("unrolled", namespace) for namespace in namespaces for line in own]
    path.write_text("\n".join([line for line in lines if line not in own] + copies))
    return path


@pytest.fixture
def guarded(tmp_path):
    with GuardedBroker(write_users(tmp_path / "users.conf", NAMESPACE, OTHER)) as server:
        yield server


class Product:
    """One namespace's site, each side with its own login."""

    def __init__(self, root: Path, server: GuardedBroker, namespace: str = NAMESPACE) -> None:
        root.mkdir(exist_ok=True)
        self.namespace = namespace
        self.producer = server.url_of(f"{namespace}-producer")
        self.worker = server.url_of(f"{namespace}-worker")
        self.site = Site(root, self.producer)
        if namespace != NAMESPACE:
            self.site.queue.close()
            self.site.queue = ShardQueue(self.producer, namespace, self.site.model.fingerprint)

    def start_worker(self, **plan):
        site = self.site
        return site.worker(site.with_plan(**plan), broker=self.worker, namespace=self.namespace).wait_ready()


@contextlib.contextmanager
def open_product(*args) -> Iterator[Product]:
    product = Product(*args)
    try:
        yield product
    finally:
        product.site.close()


def environ(broker: str, namespace: str = NAMESPACE) -> dict[str, str]:
    return {**os.environ, "UNROLLED_BROKER": broker, "UNROLLED_NAMESPACE": namespace, "COLUMNS": "200"}


def start(broker: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "producer", *map(str, arguments)],
        env=environ(broker), cwd=REPOSITORY, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
    """Exit status, and all that was printed."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"still runs after {seconds} s: {process.communicate()}") from None
    return process.returncode, out + err


def run(broker: str, *arguments: object) -> tuple[int, str]:
    return finish(start(broker, *arguments))


def write_input(path: Path, rows: int = 12) -> Path:
    path.write_text("".join(json.dumps({"tokens": [i + 1, 7, 8]}) + "\n" for i in range(rows)))
    return path


def holders_of(secret: str, root: Path) -> list[str]:
    """Files under `root` that have a secret in them, as it is or as URLs have it."""
    spellings = [secret.encode(), quote(secret, safe="").encode(), quote(secret).encode()]
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "users.conf"]
    return [path.name for path in files if any(spelling in path.read_bytes() for spelling in spellings)]


def check_silent(secret: str, text: str) -> None:
    for spelling in (secret, quote(secret, safe=""), quote(secret)):
        assert spelling not in text


# ---------------------------------------------------------------- users


def test_the_file_is_refused_until_it_has_passwords():
    """A server doesn't start with the documented users as they stand: nobody runs with a known password."""
    with pytest.raises(Exception, match="ended with status 1"), GuardedBroker(USERS):
        pass


def test_a_whole_job(tmp_path, guarded):
    """With the two logins all commands do their work, and nothing that they try is denied."""
    with open_product(tmp_path, guarded) as product:
        made = ["--model", product.site.model.path, "--out", tmp_path / "out", "--shard-tokens", 3]
        status, text = run(product.producer, "enqueue", write_input(tmp_path / "rows.jsonl"), *made)
        assert status == 0, text
        directory = open_job(tmp_path / "out")
        dead = min(directory.waiting())
        with contextlib.closing(ShardQueue(product.worker, NAMESPACE, directory.job.fingerprint)) as queue:
            queue.ledger.remove(member_of(directory.key, dead))
        bury(directory, dead)
        product.start_worker()
        assert run(product.producer, "wait", directory.path)[0] == 1
        assert run(product.producer, "retry", directory.path)[0] == 0
        assert run(product.producer, "wait", directory.path)[0] == 0
        status, text = run(product.producer, "status", directory.path)
        assert status == 0
        assert "12 of 12" in text
        assert "counting" in text  # the worker's heartbeat
        assert run(product.producer, "verify", directory.path)[0] == 0
        status, text = run(product.worker, "doctor", "--out", directory.path)
        assert status == 0, text
        assert "✓ worker pool: threads" in text
        assert guarded.denials() == []
        # What a producer may not, it is told.
        status, text = run(product.producer, "doctor", "--out", directory.path)
        assert status == 0, text
        assert "? worker pool" in text
        assert "✓ scripts: allowed" in text
        assert "✓ persistence: append-only file" in text
        assert {user for user, _, _ in guarded.denials()} == {f"{NAMESPACE}-producer"}
        assert product.site.workers[0].stop() == 0
    for password in PASSWORDS.values():
        assert holders_of(password, tmp_path) == []


def forbidden_to_all(site: Site) -> list[list[object]]:
    ledger = f"{NAMESPACE}:{site.model.fingerprint[:12]}:ledger"
    return [
        ["FLUSHALL"], ["FLUSHDB"], ["CONFIG", "GET", "*"], ["CONFIG", "SET", "appendonly", "no"], ["KEYS", "*"],
        ["SCAN", 0], ["ACL", "LIST"], ["ACL", "SETUSER", "me"], ["CLIENT", "LIST"], ["CLIENT", "KILL", "TYPE", "normal"],
        ["MONITOR"], ["SHUTDOWN"], ["SCRIPT", "FLUSH"], ["SAVE"], ["EVAL", "return 1", 0],
        ["MODULE", "LIST"], ["REPLICAOF", "h", 1], ["RENAME", ledger, f"{NAMESPACE}:models"], ["DUMP", ledger],
        ["SET", f"{OTHER}:models", 1], ["GET", "some-key"], ["LPUSH", f"{OTHER}:shards.x", 1], ["ZRANGE", "ledger", 0, 1],
        ["HSET", f"{NAMESPACE}2:workers", "a", 1], ["PUBLISH", f"{OTHER}:/0.celery.pidbox", "x"],
        ["PUBLISH", "x", "x"], ["SUBSCRIBE", f"{NAMESPACE}:/0.celery.pidbox"], ["PSUBSCRIBE", "*"],
    ]  # fmt: skip


def forbidden_to_producers(site: Site) -> list[list[object]]:
    ledger = f"{NAMESPACE}:{site.model.fingerprint[:12]}:ledger"
    return [
        ["BRPOP", site.queue_key, 1], ["RPOP", site.queue_key], ["DEL", ledger], ["SET", ledger, ""], ["DEL", site.queue_key],
        ["PUBLISH", f"{NAMESPACE}:/0.celery.pidbox", "{}"], ["PSUBSCRIBE", f"{NAMESPACE}:/0.celery.pidbox"],
        ["HSET", f"{NAMESPACE}:unacked", "a", 1], ["ZADD", f"{NAMESPACE}:unacked_index", 1, "a"],
        ["LPUSH", f"{NAMESPACE}:unrolled-1@host.celery.pidbox", "{}"], ["SADD", f"{NAMESPACE}:_kombu.binding.celery.pidbox", 1],
        ["LPUSH", f"{NAMESPACE}:refused", "x"], ["EXPIRE", ledger, 1],
    ]  # fmt: skip


def try_out(url: str, commands: list[list[object]]) -> list[str]:
    """The commands that are let through."""
    allowed = []
    for command in commands:
        with redis.Redis.from_url(client_url(url)) as client:
            try:
                client.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                continue
            except redis.RedisError as error:
                allowed.append(f"{command}: {error!r}")
            else:
                allowed.append(str(command))
    return allowed


def test_what_the_logins_may_not(tmp_path, guarded):
    """Neither login reaches other keys, other channels or the server; a producer takes and steers nothing."""
    with open_product(tmp_path, guarded) as product:
        product.site.enqueue(make_rows(4))
        for_all, for_producers = forbidden_to_all(product.site), forbidden_to_producers(product.site)
        with guarded.admin() as admin:
            before = sorted(admin.scan_iter())
            assert try_out(product.producer, for_all + for_producers) == []
            assert try_out(product.worker, for_all) == []
            assert sorted(admin.scan_iter()) == before
        # A script can do no more than its user.
        script = redis.Redis.from_url(client_url(product.producer)).register_script("return redis.call('DEL', KEYS[1])")
        with pytest.raises(redis.ResponseError, match="ACL failure"):
            script(keys=[product.site.queue_key])
        # The health check's user says PING, and nothing else.
        health = guarded.url_of(f"{NAMESPACE}-health", "any")
        with redis.Redis.from_url(client_url(health), protocol=2, lib_name=None, lib_version=None) as client:
            assert client.ping()
        assert try_out(health, [["GET", f"{NAMESPACE}:models"], ["INFO"], *for_all]) == []
        nobody = redis.Redis.from_url(client_url(guarded.url))
        with pytest.raises(redis.AuthenticationError):
            nobody.ping()


def test_recovery(tmp_path, guarded):
    """With the two logins a killed worker's shards are taken over, and a killed server's job goes on."""
    with open_product(tmp_path, guarded) as product:
        site = product.site
        rows = make_rows(20)
        gate = str(site.gate)
        first = product.start_worker(gate=gate)
        directory = site.enqueue(rows)
        eventually(lambda: sum(site.starts().values()) >= 2, "rows in the engine")
        second = product.start_worker(gate=gate)
        first.kill()
        eventually(lambda: second.pid in {pid for pid, _ in site.calls()}, f"shards taken over; {site.tail()}")
        assert guarded.denials() == []
        guarded.kill()
        guarded.start()
        site.gate.touch()
        site.wait_done(directory)
        check_outputs(directory, rows)
        assert guarded.denials() == []
        assert second.stop() == 0


def test_two_products_on_one_server(tmp_path, guarded):
    """Two jobs at once under two namespaces never meet: all keys are one's or the other's, no user crosses over."""
    with (
        open_product(tmp_path / "a", guarded) as one,
        open_product(tmp_path / "b", guarded, OTHER) as two,
        guarded.admin() as admin,
    ):
        for product in (one, two):
            product.start_worker(seconds=0.02)
        rows = make_rows(30)
        directories = [product.site.enqueue(rows) for product in (one, two)]
        assert {key.partition(":")[0] for key in admin.scan_iter()} == {NAMESPACE, OTHER}
        for product, directory in zip((one, two), directories, strict=True):
            product.site.wait_done(directory)
            check_outputs(directory, rows)
            assert set(product.site.starts().values()) == {1}
        assert guarded.denials() == []
        assert {key.partition(":")[0] for key in admin.scan_iter()} == {NAMESPACE, OTHER}
        crossing = [["LLEN", two.site.queue.ledger._keys[8]], ["ZCARD", two.site.queue.ledger._keys[0]]]
        assert "other:" in str(crossing)
        assert try_out(one.producer, crossing) == []
        assert try_out(one.worker, crossing) == []


# ---------------------------------------------------------------- secrets


def test_a_wrong_password(tmp_path, guarded):
    """Every command ends at once with one clear line, and nobody writes the password anywhere."""
    with open_product(tmp_path, guarded) as product:
        directory = product.site.enqueue(make_rows(4))
        model = product.site.model.path
    url = guarded.url_of(f"{NAMESPACE}-producer", WRONG)
    rows = write_input(tmp_path / "rows.jsonl")
    began = time.monotonic()
    processes = {
        "enqueue": start(url, "enqueue", rows, "--model", model, "--out", tmp_path / "new"),
        "run": start(url, "run", rows, "--model", model, "--out", tmp_path / "run"),
        "status": start(url, "status", directory.path),
        "wait": start(url, "wait", directory.path),
        "retry": start(url, "status", directory.path),
        "worker": start(url, "worker", "--model", model, "--log-level", "DEBUG"),
        "doctor": start(url, "doctor", "--out", directory.path),
    }
    ended = {name: finish(process) for name, process in processes.items()}
    assert time.monotonic() - began < 20
    for name, (status, text) in ended.items():
        assert status in (1, 2), (name, text)
        (line,) = [line for line in text.splitlines() if "refuses" in line]
        assert "WRONGPASS" in line or "invalid username-password pair" in line, (name, text)
        assert f"{NAMESPACE}-producer:***@" in line, (name, text)
        assert "Traceback" not in text
        check_silent(WRONG, text)
    assert holders_of(WRONG, tmp_path) == []


def test_the_wrong_rights(tmp_path, guarded):
    """A worker with the producer's login says so and ends; a producer without rights too."""
    with open_product(tmp_path, guarded) as product:
        directory = product.site.enqueue(make_rows(4))
        model = product.site.model.path
    producer = guarded.url_of(f"{NAMESPACE}-producer")
    health = guarded.url_of(f"{NAMESPACE}-health", WRONG)
    rows = write_input(tmp_path / "rows.jsonl")
    processes = [
        start(producer, "worker", "--model", model),
        start(health, "worker", "--model", model),
        start(health, "enqueue", rows, "--model", model, "--out", tmp_path / "new"),
        start(health, "wait", directory.path),
        start(health, "status", directory.path),
        start(health, "doctor", "--out", directory.path),
    ]
    for process in processes:
        status, text = finish(process)
        assert status in (1, 2), text
        assert re.search("no permissions|NOPERM|can't be read", text), text
        check_silent(WRONG, text)


def test_no_secret_on_any_command_line(tmp_path, guarded):
    """While `unrolled run` is at work, no process of it shows the URL's secret, and none is left in a file."""
    model = make_model(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rng = np.random.default_rng(0)
    rows.write_text("".join(json.dumps({"tokens": rng.integers(1, 99, 30).tolist()}) + "\n" for _ in range(2000)))
    url = guarded.url_of(f"{NAMESPACE}-worker")
    with contextlib.ExitStack() as stack:
        environment = environ(url) | {"UNROLLED_LOG_LEVEL": "DEBUG"}
        command = [sys.executable, "-m", "producer", "run", str(rows), "--model", str(model.path), "--shard-tokens", "500"]
        process = subprocess.Popen(
            [*command, "--out", str(tmp_path / "out"), "--workers", "2"],
            env=environment, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        stack.callback(process.kill)
        lines: set[str] = set()
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                me = psutil.Process(process.pid)
                for each in [me, *me.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                        lines.add(" ".join(each.cmdline()))
            time.sleep(0.02)
        status, text = finish(process)
    assert status == 0, text
    assert any("-m worker" in line for line in lines)
    check_silent(PASSWORDS["WORKER"], text + "\n".join(lines))
    assert holders_of(PASSWORDS["WORKER"], tmp_path) == []
    log = (tmp_path / "out" / "_logs" / "worker-0.log").read_text()
    assert "DEBUG" in log


@pytest.mark.parametrize("socket", [False, True])
def test_percent_encoded_passwords(tmp_path, socket):
    """What must be percent-encoded in a password reaches the server from redis-py and from kombu alike."""
    with GuardedBroker(write_users(tmp_path / "users.conf", NAMESPACE), socket=socket) as server:
        for user in ("producer", "worker"):
            url = server.url_of(f"{NAMESPACE}-{user}")
            with redis.Redis.from_url(client_url(url)) as client:
                assert client.ping()
            with Connection(url) as connection:
                assert connection.default_channel.client.ping()
                check_silent(PASSWORDS[user.upper()], connection.as_uri() + repr(connection))


@pytest.mark.parametrize("url", ["http://u:s3cr3t@h/", "sqs://u:s3cr3t@", "memory://", "redis://:s3/cr3t@h/0"])
@pytest.mark.parametrize("command", ["enqueue", "run", "worker", "status", "wait", "doctor"])
def test_other_kinds_of_broker(tmp_path, command, url):
    """What is no Redis server is refused with the ways to name one, and without the secret."""
    made = make_model(tmp_path / "model").path
    arguments = {
        "enqueue": [tmp_path / "rows", "--model", made, "--out", tmp_path / "out"],
        "run": [tmp_path / "rows", "--model", made, "--out", tmp_path / "out"],
        "worker": ["--model", made],
        "doctor": [],
    }.get(command, [tmp_path])
    result = CliRunner().invoke(cli, [command, *map(str, arguments)], env={"UNROLLED_BROKER": url})
    assert result.exit_code in (1, 2)
    assert "redis:// or rediss:// or redis+socket:// is expected" in " ".join(result.output.split())
    assert "s3cr3t" not in result.output
    assert "cr3t" not in result.output


# ---------------------------------------------------------------- TLS


@pytest.fixture
def proxy(tmp_path, guarded):
    with TlsProxy(int(guarded.url.rpartition(":")[2].partition("/")[0]), authority(tmp_path / "ca.pem")) as made:
        yield made


def over_tls(proxy: TlsProxy, url: str, ca: Path) -> str:
    """A user's URL by way of the proxy, which must show a certificate of that authority."""
    url = re.sub(r":\d+/0$", f":{proxy.port}/0", url).replace("redis://", "rediss://")
    return f"{url}?ssl_cert_reqs=required&ssl_ca_certs={ca}"


def test_tls(tmp_path, guarded, proxy):
    """A whole job with the two logins over TLS: redis-py and kombu on both sides, and the commands."""
    ca = tmp_path / "ca.pem"
    with open_product(tmp_path, guarded) as product:
        product.worker = over_tls(proxy, product.worker, ca)
        worker = product.start_worker()
        url = over_tls(proxy, product.producer, ca)
        made = ["--model", product.site.model.path, "--out", tmp_path / "out", "--shard-tokens", 3]
        status, text = run(url, "enqueue", write_input(tmp_path / "rows.jsonl"), *made)
        assert status == 0, text
        status, text = run(url, "wait", tmp_path / "out")
        assert status == 0, text
        status, text = run(over_tls(proxy, guarded.url_of(f"{NAMESPACE}-worker"), ca), "doctor", "--out", tmp_path / "out")
        assert status == 0, text
        assert "✓ worker pool: threads" in text
        assert worker.stop() == 0


def test_tls_is_checked(tmp_path, guarded, proxy):
    """A certificate of somebody else, or no TLS where it is expected, is told in a clear line, without a hang."""
    authority(tmp_path / "stranger.pem")
    with open_product(tmp_path, guarded) as product:
        directory = product.site.enqueue(make_rows(4))
        model = product.site.model.path
    rows = write_input(tmp_path / "rows.jsonl")
    url = guarded.url_of(f"{NAMESPACE}-worker")
    stranger = over_tls(proxy, url, tmp_path / "stranger.pem")
    plain = re.sub(r":\d+/0$", f":{proxy.port}/0", url)
    to_plain = url.replace("redis://", "rediss://")
    started = [
        (broker, expected, start(broker, *arguments))
        for broker, expected in (
            (stranger, "CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
            (plain, "rediss://"),
            (to_plain, "redis://"),
        )
        for arguments in (
            ("enqueue", rows, "--model", model, "--out", tmp_path / "new"),
            ("status", directory.path),
            ("wait", directory.path),
            ("worker", "--model", model),
            ("doctor", "--out", directory.path),
        )
    ]
    for broker, expected, process in started:
        status, text = finish(process)
        assert status in (1, 2), (broker, text)
        assert re.search(expected, text), (broker, text)
        check_silent(PASSWORDS["WORKER"], text)
