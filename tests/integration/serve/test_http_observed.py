"""What a request leaves behind: `Server-Timing`, one log line without user data, and counts."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from serve.observe.metrics import EVENTS, REQUEST_SECONDS, REQUESTS, STAGE_SECONDS
from tests.integration.serve.conftest import client_of
from tests.support.service import House

SECRETS = {"user": "secret-user-7", "text": "zebras in a submarine", "session": "f00"}


def timing(answer: httpx.Response) -> dict[str, float]:
    parts = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
    return {name: float(ms) for name, ms in parts}


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [record for record in caplog.records if record.message == "request_answered"]
    return [vars(record) for record in found]


async def test_a_recommendation_says_where_its_time_went(http: httpx.AsyncClient) -> None:
    body = {"user_id": "u1", "text": "space", "evidence": True, "explain": "template"}
    told = timing(await http.post("/v1/recommendations", json=body))
    assert list(told) == ["user", "gather", "embed", "search", "rank", "explain", "total"]
    assert told["total"] >= told["search"]


async def test_a_search_has_the_stages_it_needs(http: httpx.AsyncClient) -> None:
    told = timing(await http.post("/v1/search", json={"query": "war"}))
    assert list(told) == ["embed", "search", "total"]


@pytest.mark.parametrize("path", ["/livez", "/v1/items/none", "/nowhere", "/docs"])
async def test_every_answer_has_a_total(http: httpx.AsyncClient, path: str) -> None:
    assert "total" in timing(await http.get(path))


async def test_a_stream_tells_its_stages_when_it_is_done(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/v1/recommendations",
        json={"user_id": "u1", "explain": "template"},
        headers={"Accept": "text/event-stream"},
    )
    assert "search" in timing(answer)
    done = json.loads(answer.text.strip().split("data: ")[-1])
    assert list(done["stages_ms"]) == ["user", "gather", "search", "rank", "explain"]


async def test_one_line_a_request_names_route_generation_and_lack(
    http: httpx.AsyncClient, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ray.serve")
    house.shards[0].lost = True
    headers = {"X-Request-Id": "id-1"}
    await http.post("/v1/recommendations", json={"user_id": "u1"}, headers=headers)
    [line] = lines(caplog)
    assert line["http_request_id"] == "id-1"
    assert line["http_route"] == "/v1/recommendations"
    assert line["http_status"] == 200
    assert line["generation"] == house.made.manifest.generation
    assert line["degraded"] == ["search"]
    assert line["took_ms"] > 0


async def test_probes_that_succeed_are_not_logged(
    houses: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ray.serve")
    house = houses()
    async with client_of(house) as http:
        await http.get("/livez")
        assert lines(caplog) == []
        assert (await http.get("/readyz")).status_code == 503
    assert [line["http_route"] for line in lines(caplog)] == ["/readyz"]


async def test_no_log_record_holds_users_texts_or_titles(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    user, text = SECRETS["user"], SECRETS["text"]
    event = {"event_id": "e", "user_id": user, "item_id": "f00", "type": "review", "text": text}
    await http.post("/v1/events", json={**event, "time": "2026-01-01T00:00:00Z"})
    body = {"user_id": user, "text": text, "evidence": True, "explain": "llm"}
    answer = await http.post("/v1/recommendations", json=body)
    await http.post("/v1/search", json={"query": text})
    await http.post("/v1/recommendations", json={"user_id": user, "limit": text})
    await http.delete(f"/v1/users/{user}")
    title = answer.json()["items"][0]["title"]
    ours = [
        record
        for record in caplog.records
        if not record.name.startswith("httpx")  # the test's own client names its URLs
    ]
    assert len([one for one in ours if one.message == "request_answered"]) == 5
    logged = "\n".join(str(vars(record)) for record in ours)
    for secret in (user, text, title):
        assert secret not in logged


async def test_requests_stages_and_events_are_counted(
    http: httpx.AsyncClient, house: House
) -> None:
    event = {"event_id": "e", "user_id": "u", "item_id": "f00", "type": "like"}
    stored = {**event, "time": "2026-01-01T00:00:00Z"}
    unknown = {**stored, "event_id": "e2", "item_id": "none"}
    await http.post("/v1/events", json={"events": [stored, unknown]})
    await http.post("/v1/events", json=stored)
    await http.get("/v1/items/none")
    await http.get("/v1/items/f00")
    counted = house.meters.values
    assert counted[REQUESTS.name, "/v1/items/{item_id}", "404", ""] == 1
    assert counted[REQUESTS.name, "/v1/items/{item_id}", "200", ""] == 1
    assert counted[REQUEST_SECONDS.name, "/v1/events"] == 2
    outcomes = {outcome: counted[EVENTS.name, outcome] for outcome in ("accepted", "rejected")}
    assert outcomes == {"accepted": 1, "rejected": 1}
    assert counted[EVENTS.name, "duplicate"] == 1
    await http.post("/v1/search", json={"query": "war"})
    assert counted[STAGE_SECONDS.name, "search"] == 1


async def test_an_error_inside_is_counted_and_logged_as_one(
    houses: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    house = houses()
    caplog.set_level(logging.INFO, "ray.serve")

    @house.app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("inside")

    async with client_of(house) as http:
        answer = await http.get("/broken")
    assert (answer.status_code, "total" in timing(answer)) == (500, True)
    assert [line["http_status"] for line in lines(caplog)] == [500]
    assert house.meters.values[REQUESTS.name, "/broken", "500", ""] == 1
