"""A store in a bucket: answers that are lost, late or wrong, servers that die, and what is shown of secrets."""

import hashlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from types import SimpleNamespace

import pytest
from support.bucket_server import Answer, BucketProcess

from unrolled.errors import RequestError, TransientError
from unrolled.store import settle
from unrolled.store.bucket import TAIL_BYTES, BucketStore
from unrolled.store.bucket_url import BucketUrl
from unrolled.store.cloud import gathered, options
from unrolled.store.cloud.listing import PAGE
from unrolled.store.cloud.objects import BucketObjects
from unrolled.store.place import check_creates_once
from unrolled.store.store import Creation

SECRETS = ["key-id-of-a-test", "secret-of-a-test"]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(settle, "PAUSES_SECONDS", (0.001,) * 9)


def methods(server):
    return [request.method for request in server.requests]


def put_directly(bucket, name, content):
    """Put a file where the server keeps its objects."""
    path = bucket / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def objects(server):
    """Where the server keeps the store's objects."""
    return server.directory / server.bucket / "out"


def test_an_object_is_one_request_with_a_condition(bucket, server):
    """However large: an upload in several parts would leave parts behind, and be created by its last request."""
    assert bucket.create("a", lambda file: file.write(bytes(12_000_000))) is Creation.CREATED
    look, request = server.requests
    assert look.method == "GET", "of a large one; it would show in time that the server is silent"
    assert (request.method, request.condition, request.size) == ("PUT", "*", 12_000_000)


@pytest.mark.parametrize(("wish", "is_sent"), [(None, False), ("true", False), ("false", True)])
def test_the_content_is_signed_where_the_environment_says_so(server, monkeypatch, wish, is_sent):
    """On this machine it needn't be, since nobody else can change it; some servers take nothing else."""
    if wish is not None:
        monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", wish)
    content = os.urandom(100)
    BucketStore(f"s3://{server.bucket}/out").create("a", content)
    digest = hashlib.sha256(content).hexdigest() if is_sent else "UNSIGNED-PAYLOAD"
    assert [request.digest for request in server.requests] == [digest]


@pytest.mark.parametrize(
    ("answer", "is_used"),
    [(None, True), *((each, False) for each in (Answer.CONFLICT, Answer.SLOW_DOWN, Answer.LOST_REQUEST))],
)
def test_memory_is_used_again_if_no_request_can_be_reading_it(bucket, server, monkeypatch, answer, is_used):
    """A request without a good answer may go on; with other bytes in its memory, it would create a wrong object."""
    kept = deque()
    monkeypatch.setattr(gathered, "_kept", kept)
    server.faults["PUT"] = [answer]
    assert bucket.create("a", lambda file: file.write(b"x")) is Creation.CREATED
    assert bool(kept) is is_used
    assert bucket.create("a", lambda file: file.write(b"x")) is Creation.EXISTS
    assert bool(kept) is False


def test_memory_is_not_used_again_after_an_interruption(bucket, monkeypatch):
    """The request goes on by itself."""
    kept = deque()
    monkeypatch.setattr(gathered, "_kept", kept)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bucket, "_creating", SimpleNamespace(put=interrupt))
    with pytest.raises(KeyboardInterrupt):
        bucket.create("a", lambda file: file.write(b"x"))
    assert not kept


@pytest.mark.parametrize("answer", [Answer.CONFLICT, Answer.EXISTS_IN_VAIN, Answer.SLOW_DOWN, Answer.BROKEN,
                                    Answer.THROTTLED, Answer.LOST_REQUEST])  # fmt: skip
def test_what_had_no_effect_is_sent_again(bucket, server, answer):
    """409 and 412 are no proof that an object exists; it is looked for."""
    server.faults = {"PUT": [answer] * 3}
    assert bucket.create("a", b"1") is Creation.CREATED
    assert methods(server) == ["PUT", "GET"] * 3 + ["PUT"]
    assert bucket.read("a") == b"1"


@pytest.mark.parametrize("answer", [Answer.LOST_ANSWER, Answer.HALF_ANSWER, Answer.EXISTS_AFTER])
def test_what_had_its_effect_is_found(bucket, server, answer):
    """Its creator isn't known, and doesn't matter."""
    server.faults = {"PUT": [answer]}
    assert bucket.create("a", b"1") is Creation.EXISTS
    assert methods(server) == ["PUT", "GET"]
    assert bucket.read("a") == b"1"


def test_a_request_that_takes_effect_late(bucket, server):
    """It finds the object that was created after it was given up, and changes nothing."""
    server.faults = {"PUT": [Answer.LATE]}
    assert bucket.create("a", b"1") is Creation.CREATED
    server.late.set()
    assert server.late_done.wait(60)
    assert bucket.read("a") == b"1"


def test_a_server_that_never_answers_well_ends_the_creation(bucket, server):
    """After some attempts; the text has its last answer and what to do."""
    server.faults = {"PUT": [Answer.SLOW_DOWN] * 100}
    with pytest.raises(TransientError, match=rf"cannot create {bucket}/a: 503 SlowDown; check that the store can be"):
        bucket.create("a", b"1")
    assert methods(server).count("PUT") == 10


def test_no_new_attempt_after_a_long_time(bucket, server, monkeypatch):
    """Where each of them takes long to fail."""
    monkeypatch.setattr(settle, "LONGEST_SECONDS", 0.0)
    server.faults = {"PUT": [Answer.SLOW_DOWN] * 100}
    with pytest.raises(TransientError, match="503"):
        bucket.create("a", b"1")
    assert methods(server) == ["PUT", "GET"]


@pytest.fixture
def raw_server(server, monkeypatch):
    """A listening socket, which the next store takes for the server; what nobody accepts has a connection, too."""
    assert server.bucket, "its credentials are in the environment"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr(options, "SILENT_SECONDS", 0.3)
        monkeypatch.setattr(options, "LISTING_SECONDS", 0.3)
        monkeypatch.setattr(settle, "LONGEST_SECONDS", 0.0)
        monkeypatch.setattr("unrolled.store.bucket._RETRIES", {"max_retries": 0})
        monkeypatch.setattr("unrolled.store.cloud.objects._RETRIES", {"max_retries": 0})
        yield listening


def test_a_server_that_answers_before_it_has_read_all(raw_server, monkeypatch):
    """What it hasn't read yet stays as it is."""
    monkeypatch.setattr(options, "SILENT_SECONDS", 30)
    kept = deque()
    monkeypatch.setattr(gathered, "_kept", kept)
    content = os.urandom(1 << 25)
    received = []

    def serve():
        connection, _ = raw_server.accept()
        with connection, connection.makefile("rb") as file:
            read_head(file)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection, _ = raw_server.accept()
        with connection, connection.makefile("rb") as file:
            read_head(file)
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n')
            has_answer.wait()
            received.append(file.read(len(content)))

    has_answer = threading.Event()
    server = threading.Thread(target=serve)
    server.start()
    try:
        assert BucketStore("s3://bucket/out").create("a", lambda file: file.write(content)) is Creation.CREATED
        assert not kept
    finally:
        has_answer.set()
        server.join()
    assert received == [content]


def read_head(file):
    """The lines of a request before its content."""
    return [*iter(file.readline, b"\r\n")]


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("raw_server")
def test_a_server_that_takes_connections_and_says_nothing():
    """It is noticed long before the time that a large object may take, and what was asked is told."""
    silent, inputs = BucketStore("s3://bucket/out"), BucketObjects(BucketUrl.parse("s3://bucket/in"))
    for operation in (
        lambda: silent.create("a", b"1"),
        lambda: silent.create("a", bytes(12_000_000)),
        lambda: silent.read("a"),
        lambda: silent.open("a"),
        lambda: list(silent.list("f")),
        lambda: silent.delete("a"),
        lambda: inputs.find("in/a"),
        lambda: list(inputs.below("in")),
    ):
        with pytest.raises(TransientError, match="no answer in time"):
            operation()


def test_a_large_object_may_take_long(raw_server):
    """While it is sent, the server has nothing to say."""
    large = BucketStore("s3://bucket/out")

    def receive():
        connection, _ = raw_server.accept()
        with connection, connection.makefile("rb") as request:
            while request.readline() != b"\r\n":
                pass
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection, _ = raw_server.accept()
        with connection, connection.makefile("rb") as request:
            time.sleep(4 * options.SILENT_SECONDS)  # the network is slow
            while request.readline() != b"\r\n":
                pass
            request.read(12_000_000)
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n')

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    assert large.create("a", bytes(12_000_000)) is Creation.CREATED
    receiver.join()


@pytest.mark.parametrize(("answer", "text"), [
    (Answer.FORBIDDEN, "403 AccessDenied; let these credentials list"),
    (Answer.UNAUTHORIZED, "401 InvalidToken; let these credentials"),
    (Answer.REDIRECT, "set AWS_REGION to the bucket's region"),
    (Answer.OTHER_REGION, "400 AuthorizationHeaderMalformed; set AWS_REGION to the bucket's region"),
])  # fmt: skip
def test_what_a_person_has_to_change_is_reported_at_once(bucket, server, answer, text):
    """It would be refused again; the text names the object, and nothing that is secret."""
    for method, operation in (
        ("PUT", lambda: bucket.create("f/a", b"1")),
        ("GET", lambda: bucket.read("f/a")),
        ("GET", lambda: bucket.open("f/a")),
        ("GET", lambda: list(bucket.list("f"))),
        ("DELETE", lambda: bucket.delete("f/a")),
    ):
        server.requests.clear()
        server.faults = {method: [answer]}
        with pytest.raises(TransientError, match=text) as caught:
            operation()
        assert f"{bucket}/f" in str(caught.value)
        assert not any(secret in str(caught.value) for secret in [*SECRETS, "Signature"])
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert methods(server) == [method]


def test_a_read_needs_no_rights_to_write(bucket, server):
    """Inputs and models need two rights, and an output four."""
    for method, operation, rights in (
        ("GET", lambda: bucket.read("a"), r"list and read there \(an output also needs write and delete\), or"),
        ("GET", lambda: list(bucket.list("f")), r"list and read there \(an output"),
        ("PUT", lambda: bucket.create("a", b"1"), "list, read, write and delete there, or use others"),
        ("DELETE", lambda: bucket.delete("a"), "list, read, write and delete there"),
    ):
        server.faults = {method: [Answer.FORBIDDEN]}
        with pytest.raises(TransientError, match=f"let these credentials {rights}"):
            operation()


def test_a_server_without_conditions_is_refused(bucket, server):
    """It says so, or, worse, replaces: then nothing but a proof finds it."""
    server.faults = {"PUT": [Answer.NOT_IMPLEMENTED]}
    with pytest.raises(RequestError, match=r"501 NotImplemented.*If-None-Match"):
        bucket.create("a", b"1")
    server.ignores_conditions = True
    try:
        with pytest.raises(RequestError, match=rf"{bucket} replaces an object that exists"):
            check_creates_once(bucket)
    finally:
        server.ignores_conditions = False
    assert list(bucket.list("_unrolled/probe")) == []


def test_a_bucket_that_is_missing_is_reported(server):
    """Its objects aren't taken for absent."""
    assert server.url
    store = BucketStore("s3://no-such-bucket/out")
    for operation in (
        lambda: store.create("a", b"1"),
        lambda: store.read("a"),
        lambda: store.open("a"),
        lambda: list(store.list()),
        lambda: store.delete("a"),
    ):
        with pytest.raises(TransientError, match=r"404 NoSuchBucket; make the bucket, or correct its name"):
            operation()


@pytest.mark.parametrize("answer", [Answer.SLOW_DOWN, Answer.LOST_REQUEST])
def test_a_read_is_sent_again(bucket, server, answer):
    """And a listing, and a delete: sent twice, they have one effect."""
    bucket.create("f/a", b"0123456789")
    server.faults = {"GET": [answer]}
    assert bucket.read("f/a") == b"0123456789"
    server.faults = {"GET": [answer]}
    assert list(bucket.list("f")) == ["f/a"]
    server.faults = {"DELETE": [answer]}
    bucket.delete("f/a")
    assert bucket.read("f/a") is None


def test_an_answer_that_ends_early_is_not_taken_for_whole(bucket, server):
    """A read is sent again; a listing says that it isn't all."""
    bucket.create("f/a", bytes(100_000))
    server.faults = {"GET": [Answer.HALF_ANSWER]}
    assert bucket.read("f/a") == bytes(100_000)
    server.faults = {"GET": [Answer.HALF_ANSWER]}
    with pytest.raises(TransientError, match="the connection was lost"):
        list(bucket.list("f"))


def test_a_small_object_is_opened_by_one_request(bucket, server):
    """The answer has its size and its end, where a Parquet file has its footer."""
    content = os.urandom(TAIL_BYTES + 1000)
    bucket.create("a", content)
    bucket.create("small", content[:1000])
    server.requests.clear()
    with bucket.open("small") as file:
        assert file.read() == content[:1000]
    with bucket.open("a") as file:
        file.seek(2000)
        assert file.read(5000) == content[2000:7000]
        assert len(server.requests) == 2
        file.seek(0)
        assert file.read() == content
    assert len(server.requests) == 3


def test_an_object_that_goes_while_it_is_read(bucket):
    """The file says so, and doesn't end early."""
    bucket.create("a", bytes(TAIL_BYTES * 2))
    with bucket.open("a") as file:
        bucket.delete("a")
        with pytest.raises(TransientError, match="the object is gone; open it again"):
            file.read(10)


def test_names_that_people_gave_are_read(bucket, objects):
    """As they are, and listed as they are."""
    foreign = ["a b.txt", "ümläut.txt", "100%.txt", "a%20b.txt", "plus+.txt", "q?&#.txt", ".hidden"]
    for name in foreign:
        put_directly(objects / "in puts", name, name.encode())
    assert sorted(bucket.list("in puts")) == sorted(f"in puts/{name}" for name in foreign[:-1])
    for name in foreign:
        assert bucket.read(f"in puts/{name}") == name.encode()


def test_a_large_folder_within_the_listed_one_is_jumped_over(bucket, server, objects):
    """A bucket lists it as well; its pages but the first are never asked for."""
    for number in range(3 * PAGE):
        put_directly(objects, f"_unrolled/rows/{number:06d}", b"")
    for number in range(PAGE + 10):
        put_directly(objects, f"part-{number:06d}", b"1")
    put_directly(objects, "Z", b"")
    put_directly(objects, "q/x", b"")
    server.requests.clear()
    found = list(bucket.list())
    assert found == ["Z", *(f"part-{number:06d}" for number in range(PAGE + 10))]
    assert len(server.requests) <= 5
    assert len(list(bucket.list("_unrolled/rows"))) == 3 * PAGE


def test_nothing_is_jumped_over_that_is_listed(bucket, objects):
    """Names before, behind and beside a large folder, and in it behind a tilde."""
    names = ["m", "m!", "m.x", "m0", "m~", "mm", "n"]
    for name in names:
        put_directly(objects, name, b"")
    (objects / "m").unlink()
    for number in range(PAGE + 5):
        put_directly(objects, f"m/{number:06d}", b"")
    for number in range(PAGE + 5):
        put_directly(objects, f"m/ü{number:06d}", b"")
    assert list(bucket.list()) == sorted(names[1:])


def test_a_server_that_dies_and_comes_back(tmp_path, monkeypatch, server):
    """Creators go on, and every object is whole and created once."""
    monkeypatch.setattr(settle, "PAUSES_SECONDS", (0.1,) * 100)
    process = BucketProcess(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", process.url)
    store = BucketStore("s3://bucket/out")
    content = os.urandom(2_000_000)
    answers, some = [], threading.Semaphore(0)

    def create():
        for number in range(60):
            answers.append(store.create(str(number), content))
            some.release()

    creators = [threading.Thread(target=create) for _ in range(2)]
    for creator in creators:
        creator.start()
    for _ in range(3):
        for _ in range(20):
            some.acquire()
        process.kill()
        process.start()
    for creator in creators:
        creator.join()
    assert len(answers) == 120
    assert set(store.list()) == {str(number) for number in range(60)}
    assert all(store.read(str(number)) == content for number in range(60))
    process.kill()
    with pytest.raises(TransientError, match=r"cannot read s3://bucket/out/0: no connection; check that the bucket"):
        store.read("0")
    assert server.requests == []


FORKER = """
import os, sys
from unrolled.errors import BrokenWorkerError
from unrolled.store.bucket import BucketStore

store = BucketStore(sys.argv[1])
if os.fork() == 0:
    print(store.read("a"), flush=True)
    os._exit(0)
os.wait()
store.read("a")
if os.fork() == 0:
    try:
        store.read("a")
    except BrokenWorkerError as error:
        print(error, flush=True)
    os._exit(0)
print(os.wait()[1], store.read("a"))
"""


def test_a_forked_process_says_so_rather_than_waiting_for_ever(bucket):
    """The client's threads are not in it, unless they begin there."""
    command = [sys.executable, "-c", FORKER, str(bucket)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    first, second, third = done.stdout.splitlines()
    assert first == "None"
    assert second.startswith("this process was forked from one that had used a bucket")
    assert third == "0 None"


def test_another_process_connects_by_itself(bucket):
    """A store is sent to it as its URL: no connection, no credential."""
    sent = pickle.dumps(bucket)
    assert not any(secret.encode() in sent for secret in SECRETS)
    bucket.create("a", b"1")
    assert pickle.loads(sent).read("a") == b"1"


def test_a_program_that_gives_no_credentials_is_named(server, tmp_path, monkeypatch):
    """What it said is not repeated."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (tmp_path / "config").write_text("[default]\ncredential_process = echo secret-of-a-test\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = BucketStore(f"s3://{server.bucket}/out")
    with pytest.raises(TransientError, match=r"credential_process gives no credentials \(JSON\w+\); run it by hand"):
        store.create("a", b"1")
    assert server.requests == []


def test_no_secret_is_shown(bucket):
    """In the store's text, or anything it holds that prints itself."""
    assert repr(bucket) == f"BucketStore('{bucket}')"
    shown = repr(vars(bucket)) + str(vars(bucket))
    assert not any(secret in shown for secret in SECRETS)
