"""When workers that die are started again, and when that is hopeless."""

import itertools

import pytest
from support.jobs import make_job, publish_shard, record_death, waiting

from producer.local.deaths import LONG_ENOUGH_SECONDS, MOST_DEATHS, MOST_GIVEN_UP, Deaths, Settled, settled_in
from unrolled.errors import TransientError


def deaths_of(killers, *, workers, max_attempts, healthy=0):
    """What is said at each death of workers that meet shards which kill them, all of them on board from the start."""
    found = [0, 0]
    deaths = Deaths(workers, max_attempts, lambda: Settled(*found))
    yield deaths.count(1.0)  # in company
    left = list(range(killers))
    while left:
        together, left = left[:workers], left[workers:]
        for _ in range(max_attempts):
            for _ in together:
                yield deaths.count(1.0)
        found[1] += len(together)
        found[0] += bool(healthy)
        healthy -= bool(healthy)


@pytest.mark.parametrize(
    ("workers", "max_attempts", "killers"), [(1, 3, 7), (1, 3, 25), (1, 20, 1), (8, 20, 16), (2, 100, 3)]
)
def test_killers_are_given_up_and_do_not_end_the_run(workers, max_attempts, killers):
    """Each death brings one of them nearer to its end, however many there are and however often each may kill."""
    assert set(deaths_of(killers, workers=workers, max_attempts=max_attempts)) == {""}


def test_many_killers_among_sound_shards_do_not_end_the_run():
    """As long as anything is published between them."""
    assert set(deaths_of(500, workers=2, max_attempts=3, healthy=500)) == {""}


def test_shards_that_are_all_given_up_end_the_run():
    """It is the machine that is to blame, then."""
    said = list(itertools.takewhile(lambda text: not text, deaths_of(500, workers=1, max_attempts=3)))
    assert len(said) // 3 == MOST_GIVEN_UP + 1
    assert next(filter(None, deaths_of(500, workers=1, max_attempts=3))) == (
        f"{MOST_GIVEN_UP + 1} shards were given up in a row, and none was published"
    )


def test_deaths_that_lead_to_nothing_end_the_run():
    """Such as those of workers that die before they have a shard."""
    deaths = Deaths(2, 3, lambda: Settled(5, 5))
    most = MOST_DEATHS + 2 * 4
    assert [deaths.count(0.1) for _ in range(most)] == [""] * most
    assert deaths.count(0.1) == f"its workers died {most + 1} times in a row, and nothing came of it"


def test_who_lived_long_died_of_something_else():
    """The count begins again."""
    deaths = Deaths(1, 1, lambda: Settled(0, 0))
    for _ in range(10):
        assert {deaths.count(0.1) for _ in range(MOST_DEATHS)} == {""}
        assert deaths.count(LONG_ENOUGH_SECONDS + 1) == ""


def test_a_store_that_is_away_does_not_end_the_run():
    """Then it isn't known whether a death had any effect."""

    def away():
        raise TransientError("away")

    assert Deaths(1, 1, away).count(0.1) == ""


def test_parts_and_deaths_are_counted(tmp_path):
    """Other objects aren't."""
    job = make_job(tmp_path / "out", shards=3)
    first, second, _ = waiting(job)
    publish_shard(job, first)
    record_death(job, second)
    assert settled_in(job.objects) == Settled(1, 1)
