"""The page of a running job, as its bytes."""

import json

import pytest
from support.jobs import make_job, publish_shard, waiting

from producer.report import live
from producer.report.gathering import Gathering
from producer.report.live import LivePage
from producer.report.options import ReportOptions


@pytest.mark.parametrize("method", ["pca", "none"])
@pytest.mark.parametrize("published", [0, 2])
def test_what_the_end_of_a_job_adds_is_shown(tmp_path, monkeypatch, method, published):
    """Its plan beside the facts, without a map, and while the map of a moment ago is still shown."""
    monkeypatch.setattr(live, "EVERY_SECONDS", 0)
    job = make_job(tmp_path / "out", shards=3)
    for shard in waiting(job)[:published]:
        publish_shard(job, shard)
    plan = {"format_version": 1, "model": job.job.fingerprint, "times": None}
    plan["choices"] = [{"chosen": True, "size": {"value": 8, "error": 0}}]
    plan["rows"] = {"rows": {"value": 10, "error": 1}, "tokens": {"value": 9, "error": None}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    page = LivePage(lambda: Gathering(job, ReportOptions(method=method, plan=tmp_path / "plan.json")))
    assert b"Plan and fact" not in page.content()
    for shard in waiting(job):
        publish_shard(job, shard)
    content = page.content()
    assert b"Plan and fact" in content
    assert (b'id="map-data"' in content) == (method == "pca")
