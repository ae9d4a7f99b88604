"""What `unrolled doctor` finds, on real servers, models and directories."""

import re
import shutil
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from support.jobs import FINGERPRINT, finished_job, make_job, publish_shard, waiting

from producer.doctor.broker import _ASKED, BINDINGS, check_broker, check_keys, check_writes
from producer.doctor.engine import check_engine
from producer.doctor.model import check_model
from producer.doctor.output import check_output, file_system
from producer.doctor.software import check_software
from producer.doctor.workers import check_workers
from producer.local import engine as local_engine
from producer.queue.queue_status import why_silent
from producer.queue.worker_status import WorkerStatus
from unrolled.job import names
from unrolled.job.offer import ARITHMETICS, Offer
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from unrolled.queue.broker import Broker
from unrolled.queue.messages import UNSEEN, queue_name
from worker.engines.fused import library

CONFIG = ModelConfig.stacked(vocab_size=10, max_length=8, num_lstm_units=4, num_lstm_layers=1, embedding_dim=2)


def outcomes(checks):
    return {check.name: check.outcome for check in checks}


def look(url):
    """The checks on a broker, by name."""
    return {check.name: check for check in check_broker(Broker(url))}


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model", CONFIG, new_weights(CONFIG, 0))


def test_a_broker_as_it_should_be_passes(broker):
    """The embedded server is set up as the product wants it."""
    found = look(broker.url)
    assert set(outcomes(found.values()).values()) == {"ok"}
    assert found["eviction"].found == "noeviction"
    assert found["persistence"].found == "append-only file"
    assert found["broker's version"].found.startswith("Valkey ")


def test_a_broker_that_is_away_fails_and_nothing_more_is_asked(broker):
    """One line, with what to do."""
    url = broker.url
    broker.kill()
    (check,) = check_broker(Broker(url))
    assert (check.name, check.outcome, check.advice) == ("broker", "fail", "start it, or correct --broker")


@pytest.mark.parametrize("name", [*(name for names in _ASKED.values() for name in names), "offers", *BINDINGS])
def test_a_key_that_somebody_else_has_written_to_is_named(broker, name):
    """No job can be queued then, although the broker answers; and what is known of it says what to delete."""
    with closing(Broker(broker.url)) as server:
        ledger = server.ledger("test", OFFER)
        ledger.enter("0123456789abcdef", "/out", None, [], 1)
        assert list(check_keys(server, "test")) == []
        key = f"test:{name}{queue_name(OFFER)}" if name in BINDINGS else getattr(ledger.keys, name)
        server.client.delete(key)
        server.client.set(key, "x")
        (check,) = check_keys(server, "test")
    assert (check.outcome, check.found) == ("fail", f"the key {key} is of another kind than Unrolled's")
    assert check.advice.startswith("delete it: ")


def test_a_broker_that_evicts_fails(broker):
    """Where memory is limited, queued shards would be thrown away; where it isn't, it may be one day."""
    Broker(broker.url).client.config_set("maxmemory-policy", "allkeys-lru")
    assert look(broker.url)["eviction"].outcome == "warn"
    Broker(broker.url).client.config_set("maxmemory", 2**30)
    check = look(broker.url)["eviction"]
    assert (check.outcome, check.found) == ("fail", "allkeys-lru")
    assert check.advice == ("set maxmemory-policy noeviction: a full broker would drop queued shards")


def test_a_broker_that_forgets_is_warned_of(broker):
    """Nothing is lost for good, but time is."""
    Broker(broker.url).client.config_set("appendonly", "no")
    check = look(broker.url)["persistence"]
    assert (check.outcome, check.found) == ("warn", "no append-only file")


@pytest.mark.parametrize(("share", "outcome"), [(0.5, "ok"), (0.9, "warn"), (0.999, "fail")])
def test_memory_that_runs_out_shows(broker, share, outcome):
    """Before the broker refuses to take more."""
    client = Broker(broker.url).client
    look(broker.url)  # the server allocates once what these questions need
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / share))
    check = look(broker.url)["broker's memory"]
    assert check.outcome == outcome
    used, limit = re.match(r"([\d.]+) of ([\d.]+) MiB used", check.found).groups()
    assert float(used) / float(limit) == pytest.approx(share, abs=0.1)  # a few MiB: whole numbers would deny it


def test_a_replica_fails(broker):
    """It answers, but can't be written to."""
    Broker(broker.url).client.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert look(broker.url)["broker's role"].advice == "name the primary in --broker"


def test_what_an_acl_forbids_is_unknown_not_wrong(broker):
    """A careful installation gives this user little."""
    client = Broker(broker.url).client
    client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping")
    url = broker.url.replace("redis+socket://", "redis+socket://weak:pw@")
    found = look(url)
    assert found["broker's settings"].outcome == "unknown"
    assert {found[name].outcome for name in ("eviction", "persistence", "broker's memory", "clocks")} == {"unknown"}
    assert found["scripts"].outcome == "fail"
    assert "weak:***@" in found["broker"].found
    assert not any(":pw" in str(asdict(check)) for check in found.values())


def test_a_wrong_password_fails_with_what_to_see_to(broker):
    """The server answers, but refuses the login."""
    url = broker.url.replace("redis+socket://", "redis+socket://nobody:wrong@")
    (check,) = check_broker(Broker(url))
    assert check.outcome == "fail"
    assert check.advice == "check the user and password in --broker, and that user's permissions"


def test_a_model_that_can_be_read_passes(model):
    """Its fingerprint is shown; without a tokenizer it takes ids."""
    opened, checks = check_model(model.path)
    assert opened.fingerprint == model.fingerprint
    assert outcomes(checks) == {"model": "ok", "tokenizer": "ok"}
    assert checks[0].found == f"{model.fingerprint[:12]}…: lstm 4 on an embedding of 2, 10 ids"


def test_a_damaged_model_fails(model, tmp_path):
    """Missing, truncated, or of numbers that are none."""
    assert check_model(tmp_path / "none")[1][0].outcome == "fail"
    weights = new_weights(CONFIG, 0)
    path = model.path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    opened, (check,) = check_model(model.path)
    assert (opened, check.outcome) == (None, "fail")
    assert set(weights) == set(CONFIG.shapes())


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ("{}", "fail"),
        ('{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 11}, "unk_token": "a"}}', "fail"),
        ('{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 10}, "unk_token": "a"}}', "ok"),
    ],
)
def test_a_tokenizer_must_fit_its_model(tmp_path, content, outcome):
    """It can be read, and gives no id that the model doesn't know."""
    model = save_model(tmp_path / "model", CONFIG, new_weights(CONFIG, 0), content)
    _, checks = check_model(model.path)
    assert outcomes(checks)["tokenizer"] == outcome


def test_a_directory_that_can_be_written_passes(tmp_path):
    """The directory may not exist yet, and nothing is left in it."""
    checks = list(check_output(tmp_path / "not" / "yet", None))
    assert outcomes(checks)["output directory"] == "ok"
    assert checks[0].found == f"{tmp_path / 'not' / 'yet'} doesn't exist yet; {tmp_path}: can be written"
    assert next(check_output(tmp_path, None)).found == f"{tmp_path}: can be written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no /proc")
def test_a_place_that_cannot_be_written_fails():
    """Not even by root."""
    (check,) = check_output(Path("/proc/out"), None)
    assert (check.outcome, check.advice) == ("fail", "make /proc writable, or choose another directory")
    assert check.found.startswith("/proc/out doesn't exist yet; /proc: can't be written: ")


def test_a_file_in_place_of_the_directory_fails(tmp_path):
    """It is named."""
    (tmp_path / "file").touch()
    (check,) = check_output(tmp_path / "file" / "out", None)
    assert (check.outcome, check.advice) == ("fail", "choose another directory for the job")
    assert f"{tmp_path / 'file'} is a file" in check.found


def test_the_disk_must_hold_what_is_to_come(tmp_path, monkeypatch, model):
    """Estimated from the model's width, or else from the published files."""
    out = tmp_path / "out"
    job = make_job(out, shards=2)
    usage = shutil.disk_usage(tmp_path)

    def disk(checks):
        return next(check for check in checks if check.name == "disk")

    # 14 tokens of 4 units: 224 bytes.
    for free, outcome in ((223, "fail"), (225, "warn"), (300, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert disk(check_output(out, model)).outcome == outcome
    assert "the job needs about" not in disk(check_output(out, None)).found
    first, _ = waiting(job)
    publish_shard(job, first)
    size = (out / names.part_object(first)).stat().st_size
    for free, outcome in ((size - 1, "fail"), (2 * size, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert disk(check_output(out, None)).outcome == outcome


@pytest.mark.parametrize("rows", ["waiting", "published"])
def test_an_input_that_is_read_in_part_says_so(tmp_path, monkeypatch, model, rows):
    """What isn't cut yet needs room, too, so no disk is called large enough; one that is too small fails."""
    job = make_job(tmp_path / "out", shards=2, ended=False)
    if rows == "published":
        for shard in waiting(job):
            publish_shard(job, shard)
    usage = shutil.disk_usage(tmp_path)
    for free, outcome in ((2**40, "unknown"), (223, "fail" if rows == "waiting" else "unknown")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        (check,) = [check for check in check_output(tmp_path / "out", model) if check.name == "disk"]
        assert check.outcome == outcome
        assert check.found.endswith("the job needs at least about 0.0 MiB more; its input isn't read to its end")


def test_a_finished_job_needs_no_room(tmp_path):
    """Whatever is free is enough."""
    finished_job(tmp_path)
    checks = {check.name: check for check in check_output(tmp_path, None)}
    assert checks["disk"].found.endswith("the job needs no more")
    assert checks["disk"].outcome == "ok"


@pytest.mark.parametrize(
    ("place", "kind"),
    [("/", "ext4"), ("/data", "nfs4"), ("/data/deep/er", "tmpfs"), ("/database", "ext4"), ("/a b/c", "xfs")],
)
def test_the_file_system_is_that_of_the_closest_mount(tmp_path, place, kind):
    """As Linux lists them; a later mount on the same point hides the earlier."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / overlay rw 0 0\n/dev/b / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n"
        "tmpfs /data/deep tmpfs rw 0 0\n/dev/c /a\\040b xfs rw 0 0\nshort\n"
    )
    assert file_system(Path(place), mounts) == kind


def test_where_mounts_are_not_reported_the_file_system_is_unknown(tmp_path):
    """As on macOS."""
    checks = list(check_output(tmp_path, None, mounts=tmp_path / "none"))
    assert outcomes(checks)["file system"] == "unknown"


def test_memory_that_looks_like_a_disk_is_warned_of(tmp_path):
    """Files there are gone when the machine restarts."""
    mounts = tmp_path / "mounts"
    mounts.write_text("tmpfs / tmpfs rw 0 0\n")
    assert outcomes(check_output(tmp_path, None, mounts))["file system"] == "warn"


OFFER = Offer(FINGERPRINT, "fused", "float32")
THREADS = {"w@host": {"pool": {"implementation": "celery.concurrency.thread:TaskPool"}}}


def worker(offer=OFFER, **facts):
    return WorkerStatus.parse("host-1", {"offer": str(offer), "lease_seconds": 30, **facts})


@pytest.mark.parametrize(("said", "known"), [({}, None), ({"threads": None}, None), ({"threads": 3}, 3)])
def test_threads_that_are_not_known_are_none(said, known):
    """A number would be false: an engine on a GPU has no number of its own."""
    assert worker(**said).threads == known


@pytest.mark.parametrize(
    ("workers", "stats", "expected"),
    [
        ([], None, {"workers": "warn"}),
        ([worker()], THREADS, {"workers": "ok", "leases": "ok", "worker pool": "ok"}),
        ([worker(Offer("cd" * 32, "fused", "float32"))], THREADS, {"workers": "warn", "worker pool": "ok"}),
        ([worker("nonsense")], THREADS, {"workers": "warn", "worker pool": "ok"}),
        ([worker(lease_seconds=2)], THREADS, {"workers": "ok", "leases": "warn", "worker pool": "ok"}),
        ([worker(longest_seconds=700)], THREADS, {"workers": "ok", "leases": "warn", "worker pool": "ok"}),
        ([worker()], None, {"workers": "ok", "leases": "ok", "worker pool": "unknown"}),
        ([worker()], {"w": {"pool": {"implementation": "celery.concurrency.prefork:TaskPool"}}},
         {"workers": "ok", "leases": "ok", "worker pool": "fail"}),
        ([worker()], {"w": None}, {"workers": "ok", "leases": "ok", "worker pool": "unknown"}),
    ],
)  # fmt: skip
def test_workers_must_offer_what_is_asked_for_in_threads(workers, stats, expected):
    """A pool of processes hangs in TensorFlow, a short lease loses shards to a pause."""
    assert outcomes(check_workers(workers, OFFER, stats)) == expected


@pytest.mark.parametrize(
    ("held", "seconds", "said"),
    [
        (0, 0.0, "no worker says that it holds a shard, "),
        (1, 0.0, "the oldest shard that a worker says it holds has taken 0"),
        (1, 7.0, "the oldest shard that a worker says it holds has taken 7 s, "),
    ],
)
def test_how_long_the_oldest_shard_has_taken(held, seconds, said):
    """A worker without a shard has 0 seconds, which are no shard's."""
    (found,) = [
        check
        for check in check_workers([worker(longest_seconds=seconds, on_board=held)], OFFER, THREADS)
        if check.name == "leases"
    ]
    assert found.found.startswith(said)


@pytest.mark.parametrize(
    "other", [Offer(FINGERPRINT, "tensorflow", "float32"), Offer(FINGERPRINT, "fused", "bfloat16")]
)
def test_a_worker_of_another_engine_or_arithmetic_computes_another_result(other):
    """It serves the model, but not the job; the line says what the job asks for."""
    check, *_ = check_workers([worker(other)], OFFER, THREADS)
    assert check.outcome == "warn"
    assert check.found == "none offers model abababababab… in float32 by fused, 1 for other jobs"
    found, *_ = check_workers([worker(other)], FINGERPRINT, THREADS)
    assert found.found == f"1 offer model abababababab…: host-1, but only in {other.arithmetic} by {other.engine}"
    assert f"queue jobs with --engine {other.engine} --arithmetic {other.arithmetic}, or start a" in found.advice
    assert found.outcome == "warn"
    assert outcomes(check_workers([worker(other), worker()], FINGERPRINT, THREADS))["workers"] == "ok"
    assert outcomes(check_workers([worker(other)], None, THREADS))["workers"] == "ok"


def test_a_worker_that_is_silent_for_a_lease_is_not_alive():
    """As `status` says it; the broker keeps its heartbeat for another lease."""
    (check,) = check_workers([worker(silent_seconds=31)], OFFER, None)
    assert check.outcome == "warn"
    assert check.found == "none offers model abababababab… in float32 by fused; host-1 did, last heard of 31 s ago"
    checks = list(check_workers([worker(silent_seconds=31), worker(silent_seconds=29)], OFFER, THREADS))
    assert outcomes(checks)["workers"] == "warn"
    assert checks[0].found.startswith("1 offer ")


@pytest.mark.parametrize(("seconds", "outcome"), [(16, "warn"), (14, "ok")])
def test_a_worker_that_is_silent_for_half_a_lease_is_named(seconds, outcome):
    """One that is stopped (SIGSTOP) holds its shards until its lease is over, and answers nothing."""
    workers, *_, pool = check_workers([worker(silent_seconds=seconds)], OFFER, {})
    assert workers.outcome == outcome
    assert ("no sign of life from host-1 for 16 s" in workers.found) == (outcome == "warn")
    assert pool.advice == (
        "a worker that hangs answers nothing; or ACL forbids it"
        if outcome == "warn"
        else "ACL may forbid it, or they start, end, or are busy: ask again"
    )


def test_a_broker_that_takes_no_writes_fails(broker):
    """It answers, but nothing can be queued, and workers can't say that they are alive."""
    server = Broker(broker.url)
    assert list(check_writes(server, "test")) == []
    server.client.config_set("min-replicas-to-write", 1)
    try:
        (check,) = check_writes(server, "test")
        silent = why_silent(server.client, "test")
    finally:
        server.client.config_set("min-replicas-to-write", 0)
    assert check.outcome == "fail"
    assert check.found.startswith("the broker takes no writes now (NOREPLICAS ")
    assert check.advice == "connect its replicas, or lower its min-replicas-to-write"
    (workers,) = check_workers([], OFFER, None, why_silent=silent)
    assert workers.outcome == "unknown"
    assert "none is alive" not in workers.found
    assert why_silent(server.client, "test") is None


def test_workers_that_a_full_broker_hides_are_not_missed():
    """They may be alive: none has to be started."""
    for known in ([], [worker(Offer("cd" * 32, "fused", "float32"))], [worker(silent_seconds=31)]):
        (check,) = check_workers(known, OFFER, None, why_silent=("is full", "raise its maxmemory"))
        assert (check.outcome, check.advice) == ("unknown", "raise its maxmemory")
        assert check.found.endswith("the broker is full, so workers that are alive can't say so")
    late, *_ = check_workers([worker(silent_seconds=16)], OFFER, None, why_silent=("is full", "raise its maxmemory"))
    said = "the broker is full, so workers that are alive can't say so; raise its maxmemory"
    assert (late.outcome, late.advice) == ("warn", said)


@pytest.mark.parametrize(
    ("threads", "late", "hosts", "advice"),
    [
        ((4, 4), 0, ("here", "here"), "give each --threads 2, or run fewer"),
        ((2, 2), 0, ("here", "here"), None),
        ((1, 4), 0, ("here", "here"), "give each --threads 2, or run fewer"),
        ((1,) * 5, 0, ("here",) * 5, "run fewer"),
        ((8,), 0, ("here",), None),  # the user has asked for it
        ((4, 4), 16, ("here", "here"), None),  # one is dead or stopped
        ((4, 4), 0, ("here", "there"), None),
    ],
)
def test_workers_that_share_a_machine_share_its_processors(monkeypatch, threads, late, hosts, advice):
    """More threads than processors slow each other down."""
    monkeypatch.setattr("producer.doctor.workers.socket.gethostname", lambda: "here")
    monkeypatch.setattr("producer.doctor.workers.usable_cpus", lambda: 4)
    silent = [late, *[0] * (len(threads) - 1)]
    workers = [
        WorkerStatus.parse(
            f"{host}-{number}",
            {"offer": str(OFFER), "lease_seconds": 30, "threads": count, "silent_seconds": seconds},
        )
        for number, (host, count, seconds) in enumerate(zip(hosts, threads, silent, strict=True))
    ]
    found = [check for check in check_workers(workers, OFFER, THREADS) if check.name == "workers' threads"]
    assert [check.advice for check in found] == ([advice] if advice else [])


JOB, ANOTHER = "0123456789abcdef", "f" * 16


def test_rows_that_no_worker_sees_are_in_the_way_of_their_shard_alone():
    """The same worker computes other shards of the job meanwhile; what helps depends on the input."""
    text = f"{UNSEEN} 000001-0123456789ab can be seen"
    for troubles, outcome in (([[JOB, text]], "warn"), ([[JOB, text], [JOB, "disk full"]], "fail")):
        (check,) = (
            each
            for each in check_workers([worker(troubles=troubles)], OFFER, THREADS, JOB)
            if each.name == "workers' troubles"
        )
        assert check.outcome == outcome
        assert ("other shards are computed; `unrolled status`" in check.advice) == (outcome == "warn")


@pytest.mark.parametrize(
    ("troubles", "job_key", "expected"),
    [
        ([[[JOB, "can't write to OUT"]]], JOB, "fail"),
        ([[[None, "can't send"]]], JOB, "fail"),
        ([[[JOB, "can't write to OUT"]], []], JOB, "warn"),  # the other worker computes the job
        ([[[ANOTHER, "can't write to X"]]], JOB, None),
        ([[[ANOTHER, "can't write to X"]]], None, "warn"),
        ([[]], None, None),
    ],
)
def test_what_is_in_the_way_of_workers_shows(troubles, job_key, expected):
    """If it concerns the job that is named, or all; a job that no worker can compute doesn't run."""
    found = list(check_workers([worker(troubles=each) for each in troubles], OFFER, THREADS, job_key))
    assert outcomes(found).get("workers' troubles") == expected
    texts = [check.found for check in found if check.name == "workers' troubles"]
    assert texts == ([] if expected is None else [f"{troubles[0][0][1]} (worker host-1)"])


def test_a_full_disk_in_the_way_of_many_parts_is_a_line_of_a_few():
    """The latest ones, and how many more there are."""
    texts = [f"can't write part {number}: No space left on device" for number in range(9)]
    *_, check = [each for each in check_workers([worker(troubles=[[JOB, text] for text in texts])], OFFER, THREADS, JOB)
                 if each.name == "workers' troubles"]  # fmt: skip
    assert check.found.split("; ") == [*(f"{text} (worker host-1)" for text in texts[-3:]), "and 6 more"]


def test_the_software_is_listed():
    """What a person who helps asks first."""
    checks = {check.name: check for check in check_software()}
    assert f"numpy {np.__version__}" in checks["software"].found
    assert Path(checks["embedded broker"].found).exists()


@pytest.fixture
def asked_anew():
    """The engine's answer is kept for the whole process; a test that changes it asks again."""
    local_engine.ask_engine.cache_clear()
    yield
    local_engine.ask_engine.cache_clear()


@pytest.mark.skipif(bool(library.why_unavailable()), reason=str(library.why_unavailable()))
@pytest.mark.usefixtures("asked_anew")
def test_the_engine_says_what_computes_and_how_fast(monkeypatch):
    """For each arithmetic: the instruction set, which UNROLLED_ISA forces, and a measured rate."""
    monkeypatch.setenv("UNROLLED_ISA", "portable")
    checks = {check.name: check for check in check_engine()}
    for arithmetic in ARITHMETICS:
        check = checks[f"fused engine in {arithmetic}"]
        assert check.outcome == "ok"
        assert re.match(r"portable, \d[\d,.]* GFLOP/s on \d+ threads?", check.found), check.found
    assert checks["fused engine in bfloat16x3"].found.endswith(", with --emulate")
    reason = library.why_no_tiles()
    assert checks["matrix units"].found == (f"not used: {reason}" if reason else "AMX")


@pytest.mark.skipif(bool(library.why_unavailable()), reason=str(library.why_unavailable()))
@pytest.mark.usefixtures("asked_anew")
def test_an_engine_that_can_not_run_is_warned_of(monkeypatch):
    """Because no instruction set has the name in UNROLLED_ISA, or because nothing answers."""
    monkeypatch.setenv("UNROLLED_ISA", "mmx")
    [check] = check_engine()
    assert (check.name, check.outcome) == ("fused engine", "warn")
    assert "UNROLLED_ISA is 'mmx'; allowed: " in check.found
    local_engine.ask_engine.cache_clear()
    monkeypatch.setattr(local_engine.sys, "executable", "/bin/false")
    [check] = check_engine()
    assert check.outcome == "warn"
    assert check.found.startswith("it is not installed here, or can't be asked; and TensorFlow ")


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize(
    ("tensorflow", "said"),
    [
        (None, "TensorFlow is not installed"),
        ("", None),
        (
            "raise ImportError('libx.so is missing')",
            "can't be imported (exit status 1: ImportError: libx.so is missing)",
        ),
        ("import os; os.abort()", "can't be imported (signal 6: no output)"),
    ],
)
def test_without_any_engine_no_job_can_run_alone(monkeypatch, tmp_path, tensorflow, said):
    """`unrolled run` would be refused; where a broker is named, other machines may compute. TensorFlow is tried."""
    monkeypatch.setenv("UNROLLED_ISA", "mmx")
    if tensorflow is None:
        monkeypatch.setattr(local_engine, "find_spec", lambda _: None)
    else:
        (tmp_path / "tensorflow").mkdir()
        (tmp_path / "tensorflow" / "__init__.py").write_text(tensorflow)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for alone in (True, False):
        (check,) = check_engine(alone=alone)
        assert check.outcome == ("fail" if said and alone else "warn")
        assert (said or "") in check.found
        assert ("the tensorflow engine computes on this machine" in check.advice) == (said is None)
