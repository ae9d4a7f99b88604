"""Passwords, users with few rights, and TLS, with real servers, workers and commands."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import redis
from celery import Celery
from click.testing import CliRunner
from support.broker import RestartableBroker
from support.jobs import record_death, waiting
from support.processes import NAMESPACE, PATIENCE_SECONDS, Site, check_outputs, eventually, make_model, make_rows
from support.tls_proxy import TlsProxy, authority

from producer.cli.root import cli
from unrolled.errors import RequestError
from unrolled.job.names import Life
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker
from unrolled.queue.broker_url import celery_url, check_broker_url, client_url
from unrolled.queue.member import Member
from unrolled.queue.messages import transport_options

REPOSITORY = Path(__file__).parents[2]
USERS = REPOSITORY / "docs" / "redis-acl.conf"
OTHER = "other"
#: Each has what must be percent-encoded in a URL.
PASSWORDS = {"ADMIN": "adm1n@:/#", "PRODUCER": "s3cr3t@:/#%?&=+ ü", "WORKER": "w0rk%2Fer:@h/0?x=#y"}
WRONG = "wr0ng@:/#%41ü"


class GuardedBroker(RestartableBroker):
    """A server that refuses everyone without a name and a password.

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
        """The question of a server without users would be refused."""
        with contextlib.suppress(redis.ConnectionError), self.admin() as client:
            return b"+PONG\r\n" if client.info("server")["process_id"] == self.process_id else b""
        return b""

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
        self.site = Site(root, self.producer, namespace)

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


class Command:
    """One of the commands, in a process of its own.

    Args:
        broker: its URL, which goes the way that secrets should.
        arguments: of `unrolled`.
        settings: more `UNROLLED_*` variables.
    """

    def __init__(self, broker: str, *arguments: object, **settings: str) -> None:
        self._words = ["unrolled", *map(str, arguments)]
        values = {"broker": broker, "namespace": NAMESPACE, **settings}
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `finish` closes it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "producer", *self._words[1:]],
            env={**os.environ, **{f"UNROLLED_{name.upper()}": value for name, value in values.items()}},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )

    def finish(self, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
        """Its exit status, and all that it printed; one that goes on for longer is killed."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with self._output:
            return status, self.text

    @property
    def text(self) -> str:
        """What it printed so far, after its own name."""
        written = os.pread(self._output.fileno(), 2**20, 0)  # a seek would move the process's own place
        return f"{' '.join(self._words)}\n{written.decode()}"

    def until(self, says: str) -> str:
        """Wait until it says something, and end it; what it printed."""
        try:
            eventually(lambda: says in self.text or self.process.poll() is not None, f"{says!r} in {self.text}")
            return self.text
        finally:
            self.process.terminate()
            self.finish(seconds=10)


def run(broker: str, *arguments: object) -> tuple[int, str]:
    return Command(broker, *arguments).finish()


def finish_all(commands: list[Command]) -> list[tuple[int, str]]:
    """As `Command.finish`, with one patience for all."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    return [command.finish(max(0.1, deadline - time.monotonic())) for command in commands]


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
    """A server doesn't start with the documented users unchanged, because their passwords are known."""
    with pytest.raises(Exception, match="ended with status 1"), GuardedBroker(USERS):
        pass


def test_a_whole_job(tmp_path, guarded):
    """With the two logins all commands do their work, and nothing that they try is denied."""
    with open_product(tmp_path, guarded) as product:
        made = ["--model", product.site.model.path, "--out", tmp_path / "out", "--shard-tokens", 6]
        status, text = run(product.producer, "enqueue", write_input(tmp_path / "rows.jsonl"), *made)
        assert status == 0, text
        job = open_job(tmp_path / "out")
        dead = min(waiting(job))
        with contextlib.closing(Broker(product.worker)) as server:
            server.ledger(NAMESPACE, job.job.offer).remove(Member(job.key, Life(dead, 0)))
        record_death(job, dead)
        product.start_worker()
        assert run(product.producer, "wait", job.place)[0] == 1
        assert run(product.producer, "retry", job.place)[0] == 0
        assert run(product.producer, "wait", job.place)[0] == 0
        (shown, _), (verified, _), (checked, report), (asked, figures) = ended = finish_all(
            [
                Command(product.producer, "status", job.place),
                Command(product.producer, "verify", job.place),
                Command(product.worker, "doctor", "--out", job.place),
                Command(product.producer, "metrics", "--once"),
            ]
        )
        assert (shown, verified, checked, asked) == (0, 0, 0, 0), ended
        assert "unrolled_broker_up 1.0" in figures
        assert "12 of 12" in ended[0][1]
        assert "this job's" in ended[0][1]  # the worker's heartbeat
        assert "✓ worker pool: threads" in report
        assert guarded.denials() == []
        # What a producer may not do is refused with an error.
        status, text = run(product.producer, "doctor", "--out", job.place)
        assert status == 0, text
        assert "? worker pool" in text
        assert "✓ scripts: allowed" in text
        assert "✓ persistence: append-only file" in text
        assert {user for user, _, _ in guarded.denials()} == {f"{NAMESPACE}-producer"}
        assert product.site.workers[0].stop() == 0
    for password in PASSWORDS.values():
        assert holders_of(password, tmp_path) == []


#: Each with {ns} for the namespace, {offer} for the part of a key that names an offer; a blank separates.
FORBIDDEN = """
FLUSHALL | FLUSHDB | SHUTDOWN | SAVE | BGREWRITEAOF | REPLICAOF h 1 | MODULE LIST | MONITOR | SCRIPT FLUSH | EVAL x 0
CONFIG GET * | CONFIG SET appendonly no | ACL LIST | ACL SETUSER me | ACL LOG | CLIENT LIST | CLIENT KILL TYPE normal
KEYS * | SCAN 0 | RANDOMKEY | DUMP {ns}:{offer}:ledger | RENAME {ns}:{offer}:ledger {ns}:offers | MIGRATE h 1 k 0 1
GET key | SET other:offers 1 | LPUSH other:shards.x 1 | ZRANGE ledger 0 1 | HSET {ns}2:workers a 1 | LLEN {ns}
PUBLISH x x | PUBLISH other:/0.celery.pidbox x | SUBSCRIBE {ns}:/0.celery.pidbox.x | PSUBSCRIBE *
"""
FORBIDDEN_TO_PRODUCERS = """
BRPOP {ns}:shards.{offer} 1 | RPOP {ns}:shards.{offer} | DEL {ns}:shards.{offer} | LTRIM {ns}:shards.{offer} 1 0
DEL {ns}:{offer}:ledger | SET {ns}:{offer}:ledger x | EXPIRE {ns}:{offer}:ledger 1
PUBLISH {ns}:/0.celery.pidbox {} | PSUBSCRIBE {ns}:/0.celery.pidbox | LPUSH {ns}:unrolled-1@host.celery.pidbox {}
HSET {ns}:unacked a 1 | ZADD {ns}:unacked_index 1 a | SADD {ns}:_kombu.binding.celery.pidbox a | LPUSH {ns}:refused x
"""


def commands_of(text: str, site: Site) -> list[list[str]]:
    text = text.replace("{ns}", NAMESPACE).replace("{offer}", site.offer.short)
    return [command.split() for line in text.strip().splitlines() for command in line.split(" | ")]


def try_out(url: str, commands: list[list[str]]) -> list[str]:
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
        for_all = commands_of(FORBIDDEN, product.site)
        for_producers = commands_of(FORBIDDEN_TO_PRODUCERS, product.site)
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
        with redis.Redis.from_url(client_url(health)) as client:
            assert client.ping()
        assert try_out(health, [["INFO"], *for_all, *for_producers]) == []
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
        job = site.enqueue(rows)
        eventually(lambda: sum(site.starts().values()) >= 2, "rows in the engine")
        second = product.start_worker(gate=gate)
        first.kill()
        eventually(lambda: second.pid in {pid for pid, _ in site.calls()}, f"shards taken over; {site.tail()}")
        assert guarded.denials() == []
        guarded.kill()
        guarded.start()
        site.gate.touch()
        site.wait_done(job)
        check_outputs(job, rows)
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
        jobs = [product.site.enqueue(rows) for product in (one, two)]
        assert {key.partition(":")[0] for key in admin.scan_iter()} == {NAMESPACE, OTHER}
        for product, job in zip((one, two), jobs, strict=True):
            product.site.wait_done(job)
            check_outputs(job, rows)
            assert set(product.site.starts().values()) == {1}
        assert guarded.denials() == []
        assert {key.partition(":")[0] for key in admin.scan_iter()} == {NAMESPACE, OTHER}
        crossing = [
            ["LLEN", f"{OTHER}:shards.x"],
            ["ZCARD", f"{OTHER}:0123456789ab-fused-float32:ledger"],
            ["HGETALL", f"{OTHER}:workers"],
        ]
        assert try_out(two.producer, crossing) == [str(command) for command in crossing]
        assert try_out(one.producer, crossing) == []
        assert try_out(one.worker, crossing) == []


# ---------------------------------------------------------------- secrets


def test_a_wrong_password(tmp_path, guarded):
    """Every command ends at once with one clear line, and the password is written nowhere."""
    with open_product(tmp_path, guarded) as product:
        job = product.site.enqueue(make_rows(4))
        model = product.site.model.path
    record_death(job, min(waiting(job)))
    url = guarded.url_of(f"{NAMESPACE}-producer", WRONG)
    rows = write_input(tmp_path / "rows.jsonl")
    commands = {
        "enqueue": Command(url, "enqueue", rows, "--model", model, "--out", tmp_path / "new"),
        "run": Command(url, "run", rows, "--model", model, "--out", tmp_path / "run"),
        "status": Command(url, "status", job.place),
        "wait": Command(url, "wait", job.place),
        "retry": Command(url, "retry", job.place),
        "worker": Command(url, "worker", "--model", model, "--log-level", "DEBUG"),
        "doctor": Command(url, "doctor", "--out", job.place),
        "metrics": Command(url, "metrics", "--metrics-port", 0),
        "metrics --once": Command(url, "metrics", "--once"),
    }
    ended = dict(zip(commands, finish_all([*commands.values()]), strict=True))
    for name, (status, text) in ended.items():
        assert status in (1, 75), (name, text)
        (line,) = [line for line in text.splitlines() if "refuses" in line]
        assert "WRONGPASS" in line or "invalid username-password pair" in line, (name, text)
        assert f"{NAMESPACE}-producer:***@" in line, (name, text)
        assert "Traceback" not in text
        check_silent(WRONG, text)
    assert holders_of(WRONG, tmp_path) == []


def test_the_wrong_rights(tmp_path, guarded):
    """A process that may log in but not do its work says so, and ends."""
    with open_product(tmp_path, guarded) as product:
        job = product.site.enqueue(make_rows(4))
        model = product.site.model.path
    producer = guarded.url_of(f"{NAMESPACE}-producer")
    health = guarded.url_of(f"{NAMESPACE}-health", WRONG)
    rows = write_input(tmp_path / "rows.jsonl")
    commands = [
        Command(producer, "worker", "--model", model),
        Command(health, "enqueue", rows, "--model", model, "--out", tmp_path / "new"),
        Command(health, "wait", job.place),
        Command(health, "doctor", "--out", job.place),
        Command(health, "metrics", "--metrics-port", 0),
    ]
    # The channel that is allowed is that of database 0.
    elsewhere = guarded.url_of(f"{NAMESPACE}-worker").removesuffix("/0") + "/5"
    commands.append(Command(elsewhere, "worker", "--model", model))
    for (status, text), reason in zip(
        finish_all(commands), [*["has no permissions to run"] * 5, "channels"], strict=True
    ):
        assert status in (1, 75), text
        assert reason in text
        check_silent(WRONG, text)


@pytest.mark.parametrize(("login", "said"), [
    (f"{NAMESPACE}-worker:{quote(WRONG, safe='')}@", "refuses: invalid username-password pair"),
    ("", "refuses: it wants a password, and the URL has none; set UNROLLED_BROKER="),
    (f"{NAMESPACE}-producer:{quote(PASSWORDS['PRODUCER'], safe='')}@", "refuses: "),
])  # fmt: skip
def test_a_broker_that_comes_after_its_worker_and_refuses_it(tmp_path, guarded, login, said):
    """It ends as one that was refused at its start, as both are where a machine starts them together."""
    site = Site(tmp_path, guarded.url, NAMESPACE)
    guarded.kill()
    try:
        worker = site.worker(broker=guarded.url.replace("://", f"://{login}"), health_file=tmp_path / "health")
        eventually(lambda: "can't send the heartbeat" in worker.log, "the worker to notice")
        guarded.start()
        assert worker.wait() == os.EX_TEMPFAIL, worker.log
    finally:
        site.close()
    assert worker.log.count(said) == 1, worker.log
    assert not (tmp_path / "health").exists()
    check_silent(WRONG, worker.log)


def test_rights_that_come_and_go(tmp_path, guarded):
    """A worker whose rights are taken away holds, says so in a few lines, and goes on when it has them again."""
    with open_product(tmp_path, guarded) as product, guarded.admin() as admin:
        site = product.site
        rows = make_rows(20)
        worker = product.start_worker(gate=str(site.gate))
        job = site.enqueue(rows)
        eventually(lambda: sum(site.starts().values()) >= 2, "rows in the engine")
        rights = next(line for line in admin.acl_list() if f" {NAMESPACE}-worker " in line).split(" -@all ")[1]
        admin.acl_setuser(f"{NAMESPACE}-worker", enabled=True, commands=["-@all", "+ping"])
        site.gate.touch()
        eventually(lambda: "can't send the heartbeat" in worker.log, f"the worker says it: {worker.log}")
        eventually(lambda: "can't remove" in worker.log or worker.log.count("permissions") > 1, worker.log)
        time.sleep(2)  # the time in which it would fill the log
        assert len(worker.log) < 10_000
        admin.acl_setuser(f"{NAMESPACE}-worker", enabled=True, commands=rights.split())
        site.wait_done(job)
        check_outputs(job, rows)
        assert worker.stop() == 0


def test_no_secret_on_any_command_line(tmp_path, guarded):
    """While `unrolled run` is at work, no process of it shows the URL's secret, and none is left in a file."""
    model = make_model(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rng = np.random.default_rng(0)
    rows.write_text("".join(json.dumps({"tokens": rng.integers(1, 99, 30).tolist()}) + "\n" for _ in range(2000)))
    url = guarded.url_of(f"{NAMESPACE}-worker")
    command = Command(
        url, "run", rows, "--model", model.path, "--shard-tokens", 500, "--out", tmp_path / "out", "--workers", 2,
        log_level="DEBUG", log_format="json",
    )  # fmt: skip
    lines: set[str] = set()
    while command.process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            me = psutil.Process(command.process.pid)
            for each in [me, *me.children(recursive=True)]:
                lines.add(" ".join(each.cmdline()))
        time.sleep(0.02)
    status, text = command.finish()
    assert status == 0, text
    assert any("-m producer worker" in line for line in lines)
    check_silent(PASSWORDS["WORKER"], text + "\n".join(lines))
    assert holders_of(PASSWORDS["WORKER"], tmp_path) == []
    log = (tmp_path / "out" / "_unrolled" / "logs" / "worker-0.log").read_text()
    assert {json.loads(line)["level"] for line in log.splitlines()} >= {"DEBUG", "INFO"}


@pytest.mark.parametrize("socket", [False, True])
def test_percent_encoded_passwords(tmp_path, socket):
    """Characters of a password that must be percent-encoded reach the server from both clients, and appear nowhere."""
    with (
        GuardedBroker(write_users(tmp_path / "users.conf", NAMESPACE), socket=socket) as server,
        open_product(tmp_path, server) as product,
    ):
        assert product.site.ledger.client.ping()
        product.start_worker()
        app = Celery(broker=product.worker, set_as_current=False)
        app.conf.broker_transport_options = transport_options(NAMESPACE)
        with contextlib.closing(app):
            asked = app.control.inspect(timeout=PATIENCE_SECONDS, limit=1)
            told = str([asked.stats(), asked.conf(with_defaults=True), asked.report()])
        assert "threads" in told
        check_silent(PASSWORDS["WORKER"], told + product.site.workers[0].log)


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
    said = " ".join(result.output.split())
    assert "allowed: redis:// or rediss:// or redis+socket://, such as" in said or "write @ as %40, / as %2F" in said
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
        status, text = run(product.worker, "doctor", "--out", tmp_path / "out")
        assert status == 0, text
        assert "✓ worker pool: threads" in text
        assert worker.stop() == 0


def test_a_strange_certificate(tmp_path, guarded, proxy):
    """A certificate that isn't trusted ends every command at once, with what to look at."""
    authority(tmp_path / "stranger.pem")
    with open_product(tmp_path, guarded) as product:
        job = product.site.enqueue(make_rows(4))
        model = product.site.model.path
    rows = write_input(tmp_path / "rows.jsonl")
    url = over_tls(proxy, guarded.url_of(f"{NAMESPACE}-worker"), tmp_path / "stranger.pem")
    commands = [
        Command(url, "enqueue", rows, "--model", model, "--out", tmp_path / "new"),
        Command(url, "status", job.place),
        Command(url, "wait", job.place),
        Command(url, "worker", "--model", model),
        Command(url, "doctor", "--out", job.place),
        Command(url.partition("?")[0], "worker", "--model", model),  # the machine's own authorities don't know it
    ]
    for status, text in finish_all(commands):
        assert status in (1, 75), text
        assert "CERTIFICATE_VERIFY_FAILED" in text
        assert "check ssl_ca_certs in --broker" in text
        check_silent(PASSWORDS["WORKER"], text)


def test_tls_on_one_side_only(tmp_path, guarded, proxy):
    """Where only one side speaks TLS, the first line says which URL may be meant."""
    model = make_model(tmp_path / "model").path
    rows = write_input(tmp_path / "rows.jsonl")
    url = guarded.url_of(f"{NAMESPACE}-worker")
    plain = re.sub(r":\d+/0$", f":{proxy.port}/0", url)
    commands = [
        Command(plain, "enqueue", rows, "--model", model, "--out", tmp_path / "new"),
        Command(plain, "worker", "--model", model),
        Command(plain, "doctor"),
        Command(url.replace("redis://", "rediss://"), "doctor"),
    ]
    for command, advice in zip(commands, [*["speaks TLS, write rediss://"] * 3, "no TLS, write redis://"], strict=True):
        text = command.until(advice)
        assert advice in text
        check_silent(PASSWORDS["WORKER"], text)


def test_certificates_are_checked_unless_it_is_said():
    """Kombu alone would take any certificate where the URL says nothing of it."""
    assert celery_url("rediss://h/0") == "rediss://h/0?ssl_cert_reqs=required"
    assert celery_url("rediss://h/0?ssl_ca_certs=x") == "rediss://h/0?ssl_ca_certs=x&ssl_cert_reqs=required"
    for url in ("rediss://h/0?ssl_cert_reqs=none", "redis://h/0", "redis+socket:///tmp/x"):
        assert celery_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0?password=s3cr3t",
        "redis://h/0?ssl_cert_reqs=required",
        "rediss://h/0?ssl_cert_reqs=s3cr3t",
        "rediss://h/0?timeout=1",
    ],
)
def test_options_that_the_clients_take_differently(url):
    """An option that one of the two clients doesn't know is refused at once, by its name."""
    with pytest.raises(RequestError, match=r"option|ssl_cert_reqs is") as caught:
        check_broker_url(url)
    assert "password=s3cr3t" not in str(caught.value)
