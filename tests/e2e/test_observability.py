"""What a monitoring system gets from the running service: a scrape, and logs without user data."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.observe.metrics import METRICS, RAY_LABELS, Metric
from tests.e2e.conftest import Live, wait_for
from tests.support.dashboards import queried
from tests.support.scrape import Labels, scraped

pytestmark = pytest.mark.timeout(600)

RARE = {"llmrec_shown_dropped", "llmrec_explanation_fallbacks"}
"""Counters of what goes wrong: Ray exports them once it has."""
SECRET_USER, SECRET_TEXT = "e2e-secret-user", "zebras in a submarine"


@pytest.fixture(scope="module")
def scrape(live: Live) -> dict[str, list[tuple[Labels, float]]]:
    """A scrape after a few answers, once everything they touch has reached the exporter."""
    with httpx.Client(base_url=live.url, timeout=60) as http:
        event = {"event_id": SECRET_USER, "user_id": SECRET_USER, "item_id": "f06", "type": "like"}
        http.post("/v1/events", json={**event, "time": "2026-01-01T00:00:00Z"})
        asked = {"user_id": SECRET_USER, "text": SECRET_TEXT, "evidence": True}
        http.post("/v1/recommendations", json={**asked, "limit": 1, "explain": "llm"})
        http.post("/v1/search", json={"query": SECRET_TEXT})
        http.get("/v1/items/none")
    expected = [metric for metric in METRICS if metric.name not in RARE]
    found: dict[str, list[tuple[Labels, float]]] = {}

    def complete() -> bool:
        found.clear()
        found.update(scraped(live.cluster.node.metrics))
        return all(name in found for metric in expected for name in metric.exported)

    try:
        wait_for(complete, 60)
    except AssertionError:
        names = [name for metric in expected for name in metric.exported if name not in found]
        pytest.fail(f"never exported: {names}")
    return found


@pytest.mark.parametrize(
    "metric", [one for one in METRICS if one.name not in RARE], ids=lambda metric: metric.name
)
def test_a_metric_is_exported_with_its_documented_labels(
    scrape: dict[str, list[tuple[Labels, float]]], metric: Metric
) -> None:
    for name in metric.exported:
        for labels, _ in scrape[name]:
            assert {*metric.labels, *RAY_LABELS} <= set(labels)


def test_requests_are_counted_by_route_and_status(
    scrape: dict[str, list[tuple[Labels, float]]],
) -> None:
    counted = {
        (labels["route"], labels["status"]) for labels, _ in scrape["ray_llmrec_requests_total"]
    }
    assert {("/v1/recommendations", "200"), ("/v1/items/{item_id}", "404")} <= counted


def test_no_label_has_user_data(scrape: dict[str, list[tuple[Labels, float]]]) -> None:
    values = {
        value for series in scrape.values() for labels, _ in series for value in labels.values()
    }
    assert not [value for value in values if SECRET_USER in value or SECRET_TEXT in value]


def test_what_the_dashboard_and_the_alerts_ask_for_is_in_the_scrape(
    scrape: dict[str, list[tuple[Labels, float]]],
) -> None:
    rare = {name for metric in METRICS if metric.name in RARE for name in metric.exported}
    assert sorted(queried() - rare - set(scrape)) == []


def test_every_answer_has_a_line_in_the_log_and_no_user_data(
    scrape: dict[str, list[tuple[Labels, float]]], live: Live
) -> None:
    assert scrape
    with httpx.Client(base_url=live.url, timeout=60) as http:
        asked = {"user_id": SECRET_USER, "limit": 1}
        headers = {"X-Request-Id": "log-line-1"}
        http.post("/v1/recommendations", json=asked, headers=headers)
        http.delete(f"/v1/users/{SECRET_USER}")
    wait_for(lambda: any(line.get("http_request_id") == "log-line-1" for line in lines(live)), 20)
    [line] = [line for line in lines(live) if line.get("http_request_id") == "log-line-1"]
    assert (line["http_route"], line["http_status"]) == ("/v1/recommendations", 200)
    assert line["generation"].startswith("g-")
    assert line["degraded"] == []
    logs = "".join(path.read_text("utf-8", "replace") for path in serve_logs(live))
    assert SECRET_USER not in logs
    assert SECRET_TEXT not in logs


def serve_logs(live: Live) -> list[Path]:
    return sorted(live.cluster.node.folder.glob("ray/session_latest/logs/serve/*.log"))


def lines(live: Live) -> Iterator[dict[str, Any]]:
    for path in serve_logs(live):
        if "_api_" in path.name:
            for line in path.read_text("utf-8").splitlines():
                if "request_answered" in line:
                    yield json.loads(line)
