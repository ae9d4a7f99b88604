"""What a producer's command serves to Prometheus."""

from support.jobs import make_job, publish_shard, record_death, waiting
from support.promtool import check_metrics

from producer.enqueue.summary import Summary
from producer.jobs.status_reader import StatusReader
from producer.terminal.figures import ProducerFigures
from unrolled.telemetry.server import text


def values(figures):
    return {family.name: value for family in figures.collect() for _, value in family.values}


def test_figures_of_the_input_and_of_the_job_come_when_they_are_known(tmp_path):
    """`enqueue` has the first, `wait` the second, `run` both; a summary that goes on changing isn't taken over."""
    figures = ProducerFigures()
    assert values(figures) == {}
    figures.read(1000)
    figures.waited(1.5)
    summary = Summary(rows=5, tokens=50, quarantined=1, shards=2, sent=2)
    figures.queued(summary)
    summary.rows = 6
    sent = [2]
    figures.sends(lambda: len(sent))
    sent.append(3)  # the last shard is entered after it was cut
    found = values(figures)
    assert found["unrolled_producer_queued_shards"] == 2
    assert found["unrolled_producer_rows"] == 5
    assert found["unrolled_producer_read_bytes"] == 1000
    assert found["unrolled_producer_full_queue_seconds"] == 1.5
    figures.looked(StatusReader(make_job(tmp_path)).read())
    found = values(figures)
    assert found["unrolled_job_shards"] == 3
    assert found["unrolled_job_complete"] == 0
    assert check_metrics(text(figures.collect)) == ""


def test_a_finished_job_with_a_dead_shard_is_not_complete(tmp_path):
    """Who waits for the end looks at one figure, and who wants every row at the other."""
    job, figures = make_job(tmp_path, shards=2), ProducerFigures()
    first, second = waiting(job)
    publish_shard(job, first)
    seen = []
    for happens in (lambda: None, lambda: record_death(job, second), lambda: publish_shard(job, second)):
        happens()
        figures.looked(StatusReader(job).read())
        found = values(figures)
        seen.append((found["unrolled_job_finished"], found["unrolled_job_complete"]))
    assert seen == [(0, 0), (1, 0), (1, 1)]
    served = text(figures.collect)
    assert "# HELP unrolled_job_finished 1 when nothing more will come, else 0.\n" in served
    assert "# HELP unrolled_job_complete 1 when every row is in a part or in quarantine, else 0.\n" in served
