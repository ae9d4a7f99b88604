"""The end of a worker whose broker hangs; tests/worker/runtime/test_worker_process.py ends real ones."""

import threading

from worker.runtime.farewell import Farewell


def test_a_worker_without_a_thread_to_spare_stops_all_the_same(monkeypatch, caplog):
    """As where a container limits its processes."""

    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    Farewell("redis://127.0.0.1:1/0", lambda: 0).begin()
    assert "can't see whether the broker answers while this worker ends: can't start new thread" in caplog.text
