"""docs/observability.md has every metric as the code has it; the queries ask for real metrics."""

import json
import re
from pathlib import Path

import yaml

from serve.observe.metrics import METRICS
from tests.support.dashboards import FOLDER, queried, queries

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")

RAYS_OWN = {
    "ray_serve_deployment_replica_healthy": "replicas as Serve sees them",
    "ray_serve_replica_processing_queries": "what max_ongoing_requests limits",
    "ray_serve_deployment_processing_latency_ms_bucket": "latency without queues",
}
"""Metrics of Ray Serve 2.60 that the dashboard uses, and why none of ours says it."""


def test_the_documented_metrics_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(llmrec_\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    documented = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in rows
    ]
    assert documented == [(one.name, one.kind, one.labels, one.meaning) for one in METRICS]


def test_every_query_asks_for_metrics_that_are_exported() -> None:
    ours = {name for metric in METRICS for name in metric.exported}
    assert sorted(queried() - ours - set(RAYS_OWN)) == []
    assert set(RAYS_OWN) <= queried(), "a metric of Ray is listed and not used"


def test_every_metric_but_sums_is_looked_at_somewhere() -> None:
    asked = queried()
    assert [one.name for one in METRICS if not asked & set(one.exported)] == []


def test_the_labels_in_queries_are_those_of_the_metrics() -> None:
    labels = {one.exported[0]: {*one.labels, "application", "le"} for one in METRICS}
    for query in queries():
        for name, selector in re.findall(r"\b(ray_llmrec_\w+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)\s*[=!]~?", selector)) <= labels[name], query


def test_every_alert_says_what_to_do() -> None:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) >= {"alert", "expr", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "action"}


def test_panels_have_their_own_ids_and_do_not_overlap() -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    corners = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(corners) == len(panels)
