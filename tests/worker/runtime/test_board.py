"""Which shards a worker has on board."""

import threading

import pytest

from unrolled.job.shard_id import ShardId
from unrolled.queue.member import Member
from worker.runtime.board import Board

A, B = (Member("0" * 16, ShardId(index, "0123456789ab")) for index in range(2))


def test_one_thread_reaches_a_shard():
    """A second one learns that it isn't the first, and its end changes nothing."""
    board = Board()
    with board.reach(A) as first, board.reach(B) as other:
        assert first
        assert other
        with board.reach(A) as second:
            assert not second
        with board.reach(A) as third:
            assert not third
    with board.reach(A) as later:
        assert later


def test_a_shard_is_held_from_its_lease_to_its_end():
    """However its block ends."""
    board = Board()

    def fail():
        with board.reach(A):
            assert board.held() == {}
            board.take(A)
            assert board.held().keys() == {A}
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert board.held() == {}


def test_waiting_until_it_is_empty():
    """It ends with the last shard's block, and at once where there is none."""
    board = Board()
    board.wait_until_empty()
    with board.reach(A):
        board.take(A)
        waiting = threading.Thread(target=board.wait_until_empty)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(60)
    assert not waiting.is_alive()
