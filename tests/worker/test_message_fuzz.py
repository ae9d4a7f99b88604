"""10,000 mutated messages through one real worker: it survives, every one of them goes, and a job isn't disturbed."""

import base64
import json
import random

import pytest
from support.processes import check_outputs, eventually, make_rows, open_site

from worker.celery_guard import KEPT_MESSAGES, REFUSED

MESSAGES = 10_000
#: Memory by which a guarded worker may grow, whatever arrives.
GROWTH_BYTES = 64 * 2**20
VALUES = (
    None, True, 0, -1, 10**30, 1e308, "", "x" * 3000, "\x00", [], {}, [[[[]]]], {"a": {"b": []}}, "../../../etc/passwd",
    "unrolled.shard", "os.system", "0123456789abcdef", "000000-0123456789ab.0", "999999999999rr-0123456789ab.7",
    "000000-0123456789ab.999999999",
    "000000-0123456789ab", "application/x-python-serialize",
)  # fmt: skip


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


def flipped(raw, chance):
    """Some bytes of the whole message changed, cut out, or put in."""
    content = bytearray(raw)
    for _ in range(chance.choice((1, 1, 3, 30))):
        at = chance.randrange(len(content))
        match chance.randrange(3):
            case 0:
                content[at] ^= 1 << chance.randrange(8)
            case 1:
                del content[at : at + chance.randrange(1, 20)]
            case 2:
                content[at:at] = chance.randbytes(chance.randrange(1, 20))
        if not content:
            break
    return bytes(content)


def restructured(value, chance):
    """One place somewhere in a JSON value is replaced, taken away, or repeated."""
    if isinstance(value, dict) and value and chance.random() < 0.98:
        key = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {name: kept for name, kept in value.items() if name != key}
            case 1:
                return {**value, str(chance.choice(VALUES))[:20]: chance.choice(VALUES)}
            case _:
                return {**value, key: restructured(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.98:
        at = chance.randrange(len(value))
        return [*value[:at], *chance.choice(([], [restructured(value[at], chance)], value[at:] * 2)), *value[at + 1 :]]
    if isinstance(value, str) and value and chance.random() < 0.5:
        at = chance.randrange(len(value))
        return value[:at] + chance.choice("0f/.é\x00") + value[at + 1 :]
    return chance.choice(VALUES)


def mutated(raw, chance):
    """A message that was good once."""
    if chance.random() < 0.3:
        return flipped(raw, chance)
    message = json.loads(raw)
    if chance.random() < 0.5:
        body = restructured(json.loads(base64.b64decode(message["body"])), chance)
        text = json.dumps(body).encode()
        if chance.random() < 0.2:
            text = flipped(text, chance)
        return json.dumps({**message, "body": base64.b64encode(text).decode()}).encode()
    return json.dumps(restructured(message, chance)).encode()


def test_ten_thousand_mutated_messages(site):
    """The process and its memory stay, the job's rows are exact, nothing is left in Redis or elsewhere on disk."""
    rows = make_rows(400)
    job = site.enqueue(rows)
    client = site.ledger.client
    client.config_set(
        "appendfsync", "no"
    )  # this server isn't killed, and five writes a message would wait for the disk
    good = client.lrange(site.queue_key, 0, -1)
    assert len(good) == 200
    client.delete(site.queue_key)
    chance = random.Random(20)
    bad = [mutated(chance.choice(good), chance) for _ in range(MESSAGES)]
    assert len(set(bad)) > 0.8 * MESSAGES
    worker = site.worker(lease_seconds=5).wait_ready()
    before = tree(site)
    # The first ones reach the worker alone: it must be the good ones that find their way, not the sweep.
    client.lpush(site.queue_key, *bad[:1000])
    eventually(lambda: client.llen(site.queue_key) == 0, "the first thousand taken", 60)
    resident = worker.resident_bytes
    for start in range(1000, MESSAGES, 450):
        part = bad[start : start + 450] + good[start // 450 * 10 : start // 450 * 10 + 10]
        chance.shuffle(part)
        client.lpush(site.queue_key, *part)
    eventually(lambda: client.llen(site.queue_key) == 0, "all messages taken", 90)
    site.wait_done(job)
    check_outputs(job, rows)
    assert worker.alive
    assert worker.log.count(" ready.") == 1
    assert worker.log.count("Connected to") == 1
    assert "Traceback" not in worker.log
    assert worker.resident_bytes - resident < GROWTH_BYTES
    eventually(lambda: client.hlen("test:unacked") == 0, "every message acknowledged")
    lists = {key.decode() for key in client.keys("*") if client.type(key) == b"list"}
    assert lists <= {f"test:{REFUSED}"}
    assert 0 < client.llen(f"test:{REFUSED}") <= KEPT_MESSAGES
    assert site.ledger.counts().shards == 0
    said = [line for line in worker.log.splitlines() if "message refused" in line or "is no message" in line]
    assert 0.5 * MESSAGES < len(said) <= MESSAGES
    assert {path for path in tree(site) - before if "out" not in path.parts} <= {worker_log(site)}
    assert worker.stop() == 0


def worker_log(site):
    return site.workers[0]._log.relative_to(site.root)


def tree(site):
    return {path.relative_to(site.root) for path in site.root.rglob("*")}
