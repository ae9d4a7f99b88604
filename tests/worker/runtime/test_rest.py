"""A worker that gets only messages which it must leave to others rests for longer and longer."""

from worker.runtime.rest import FIRST_REST, LONGEST_REST, Rest


def test_rests_grow_until_there_is_something_to_do():
    """Each is twice as long as the one before, up to the longest; a stopped worker doesn't rest at all."""
    rest = Rest()
    rest.stop()
    seconds = [rest.take() for _ in range(20)]
    assert seconds[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert seconds[-1] == LONGEST_REST
    rest.end()
    assert rest.take() == FIRST_REST
