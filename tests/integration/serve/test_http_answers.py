"""The HTTP interface on a real recommender: what it answers to requests that make sense."""

import asyncio
import json
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tests.integration.serve.conftest import client_of
from tests.support.films import SLASHED
from tests.support.service import Endless, House

LIKE = {
    "event_id": "e1",
    "user_id": "new",
    "item_id": "f00",
    "type": "like",
    "time": "2026-01-01T00:00:00Z",
}


async def recommend(http: httpx.AsyncClient, **body: object) -> Any:
    answer = await http.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(stream: str) -> list[tuple[str, Any]]:
    events = []
    for block in stream.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def test_an_answer_names_what_it_was_computed_from(
    http: httpx.AsyncClient, house: House
) -> None:
    answer = await recommend(http, user_id="u1", limit=3)
    assert answer["generation"] == house.made.manifest.generation
    assert answer["user_version"] == 1 or int(str(answer["user_version"])) > 0
    assert answer["coverage"] == {"shards_ok": 2, "shards_total": 2}
    assert answer["degraded"] == []
    assert len(str(answer["recommendation_id"])) == 32
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]


async def test_evidence_sums_to_the_score(http: httpx.AsyncClient) -> None:
    answer = await recommend(http, user_id="u1", evidence=True)
    for item in answer["items"]:
        total = item["prior"] + sum(share["share"] for share in item["evidence"])
        assert total == pytest.approx(item["score"], rel=1e-6)


async def test_a_user_never_seen_gets_an_answer(http: httpx.AsyncClient) -> None:
    answer = await recommend(http, user_id="nobody knows me")
    assert answer["user_version"] == 0
    assert len(answer["items"]) == 10


async def test_a_session_and_a_text_are_enough(http: httpx.AsyncClient) -> None:
    assert (await recommend(http, session=["f00", {"item_id": "f01", "weight": -1}]))["items"]
    assert (await recommend(http, text="a robot"))["items"]


async def test_a_filter_and_excluded_ids_are_obeyed(http: httpx.AsyncClient) -> None:
    answer = await recommend(
        http,
        user_id="nobody",
        filter={"field": "year", "range": {"gte": 1990, "lt": 1995}},
        exclude_ids=["f12"],
    )
    assert {item["item_id"] for item in answer["items"]} == {"f10", "f11", "f13", "f14"}


async def test_an_event_changes_the_next_answer(http: httpx.AsyncClient) -> None:
    before = await recommend(http, user_id="new")
    posted = await http.post("/v1/events", json=LIKE)
    assert posted.json() == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [],
        "user_versions": {"new": 1},
    }
    after = await recommend(http, user_id="new", evidence=True)
    assert after["user_version"] == 1
    assert after["items"] != before["items"]
    assert "f00" not in {item["item_id"] for item in after["items"]}
    assert any(share["event_id"] == "e1" for share in after["items"][0]["evidence"])


async def test_the_same_event_counts_once(http: httpx.AsyncClient) -> None:
    await http.post("/v1/events", json=LIKE)
    again = await http.post("/v1/events", json={"events": [LIKE]})
    assert (again.status_code, again.json()["duplicates"]) == (200, 1)


async def test_an_unknown_item_in_a_batch_is_rejected_alone(http: httpx.AsyncClient) -> None:
    bad = LIKE | {"event_id": "e2", "item_id": "no such film"}
    answer = await http.post("/v1/events", json={"events": [bad, LIKE]})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    assert [(one["index"], one["code"]) for one in answer.json()["rejected"]] == [
        (0, "item_not_found")
    ]


async def test_a_forgotten_user_is_a_new_user(http: httpx.AsyncClient) -> None:
    new = await recommend(http, user_id="nobody")
    await http.post("/v1/events", json=LIKE)
    receipt = (await http.delete("/v1/users/new")).json()
    assert (receipt["user_id"], receipt["events"], receipt["user_version"]) == ("new", 1, 2)
    forgotten = await recommend(http, user_id="new")
    assert forgotten["items"] == new["items"]


async def test_an_id_with_a_slash_works_everywhere(http: httpx.AsyncClient) -> None:
    path = "/v1/items/films%2Fa%20b"
    item = (await http.get(path)).json()
    assert item["item_id"] == SLASHED
    assert item["fields"]["year"] == 2019
    similar = (await http.get(f"{path}/similar", params={"limit": 2})).json()
    assert len(similar["items"]) == 2
    assert SLASHED not in {found["item_id"] for found in similar["items"]}
    assert (await http.delete("/v1/users/films%2Fa%20b")).json()["user_id"] == SLASHED


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
async def test_text_search_works_under_every_metric(http: httpx.AsyncClient, metric: str) -> None:
    body = {"query": "robot", "metric": metric, "limit": 5}
    answer = (await http.post("/v1/search", json=body)).json()
    scores = [item["score"] for item in answer["items"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)


async def test_a_template_explains_in_the_answer(http: httpx.AsyncClient) -> None:
    answer = await recommend(http, user_id="u1", limit=2, explain="template")
    for item in answer["items"]:
        assert item["explanation"]["source"] == "template"
        assert "evidence" not in item
    assert answer["degraded"] == []


async def test_a_template_that_stands_in_for_the_model_is_a_degraded_answer(
    http: httpx.AsyncClient,
) -> None:
    answer = await recommend(http, user_id="u1", limit=2, explain="llm")
    assert answer["degraded"] == ["explain"]


async def test_a_stream_tells_the_answer_first_and_ends_with_done(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/v1/recommendations",
        json={"user_id": "u1", "limit": 2, "explain": "template"},
        headers={"Accept": "text/event-stream"},
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = told(answer.text)
    assert events[0][0] == "recommendations"
    assert events[-1][0] == "done"
    explained = [data["item_id"] for name, data in events if name == "explanation"]
    assert sorted(explained) == sorted(item["item_id"] for item in events[0][1]["items"])


async def test_a_client_that_leaves_cancels_the_generation(houses: Callable[..., House]) -> None:
    generator = Endless()
    house = houses(generator=generator)
    await house.take_up()
    body = json.dumps({"user_id": "u1", "limit": 1, "explain": "llm"}).encode()
    incoming: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/recommendations",
        "raw_path": b"/v1/recommendations",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")],
    }

    async def send(_: object) -> None:
        pass

    serving = asyncio.create_task(house.app(scope, incoming.get, send))
    await asyncio.wait_for(generator.started.wait(), 10)
    incoming.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(generator.cancelled.wait(), 10)
    await asyncio.wait_for(serving, 10)


# ── generations and health ───────────────────────────────────────────────────────────────────────


async def test_a_service_without_a_generation_says_what_it_waits_for(
    houses: Callable[..., House],
) -> None:
    async with client_of(houses()) as http:
        assert (await http.get("/livez")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        refused = await http.post("/v1/recommendations", json={"user_id": "u1"})
        assert refused.status_code == 503
        assert refused.json()["code"] == "not_ready"
        assert "retry-after" in refused.headers


async def test_a_shard_that_lost_its_replica_is_noticed_and_so_is_its_return(
    house: House,
) -> None:
    house.shards[0].lost = True
    await house.watch.look()
    assert not house.watch.runs("shard-0")
    house.shards[0].lost = False
    await house.watch.look()
    assert house.watch.runs("shard-0")


async def test_a_ready_service_names_every_part(http: httpx.AsyncClient, house: House) -> None:
    ready = await http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["generation"] == house.made.manifest.generation
    assert {part["name"] for part in ready.json()["components"]} == {
        "generation",
        "shard-0",
        "shard-1",
        "embedder",
        "generator",
        "events",
    }
    assert all(part["ready"] for part in ready.json()["components"])


async def test_a_new_generation_is_taken_up_once_every_shard_has_it(
    http: httpx.AsyncClient, house: House
) -> None:
    first = house.made.manifest.generation
    await http.post("/v1/events", json=LIKE)
    second = house.ingest().manifest.generation
    assert second != first
    await house.watch.look()
    assert (await recommend(http, user_id="u1"))["generation"] == first
    waiting = (await http.get("/readyz")).json()["components"]
    assert any(second in part.get("waits_for", "") for part in waiting)
    await house.take_up()
    assert (await recommend(http, user_id="u1"))["generation"] == second


async def test_an_older_generation_can_be_activated_again(
    http: httpx.AsyncClient, house: House
) -> None:
    first = house.made.manifest.generation
    await http.post("/v1/events", json=LIKE)
    second = house.ingest().manifest.generation
    await house.take_up()
    listed = (await http.get("/v1/generations")).json()
    assert listed == {
        "current": second,
        "serving": second,
        "generations": sorted([first, second]),
    }
    activated = await http.post(f"/v1/generations/{first}:activate")
    assert activated.json() == {"generation": first, "number": 3}
    await house.take_up()
    assert (await recommend(http, user_id="u1"))["generation"] == first


async def test_the_openapi_document_names_every_route_and_limit(http: httpx.AsyncClient) -> None:
    spec = (await http.get("/openapi.json")).json()
    assert set(spec["paths"]) == {
        "/v1/recommendations",
        "/v1/items",
        "/v1/items/{item_id}",
        "/v1/items/{item_id}/similar",
        "/v1/search",
        "/v1/events",
        "/v1/events/{event_id}",
        "/v1/recommendations/{recommendation_id}:replay",
        "/v1/users/{user_id}",
        "/v1/generations",
        "/v1/generations/{generation}:activate",
        "/livez",
        "/readyz",
    }
    asked = spec["components"]["schemas"]["RecommendationsRequest"]["properties"]
    assert asked["limit"]["maximum"] == 100
    assert "x-limit" not in json.dumps(spec)
    names = json.dumps(spec).split('"#/components/schemas/')[1:]
    assert {name.split('"')[0] for name in names} <= set(spec["components"]["schemas"])


async def test_the_docs_page_needs_no_other_host(http: httpx.AsyncClient) -> None:
    page = (await http.get("/docs")).text
    assert "openapi.json" in page
    assert "://" not in page


def test_no_request_waits_for_a_thread_to_read_its_values(house: House) -> None:
    def calls(dependant: Dependant) -> list[Callable[..., Any] | None]:
        return [dependant.call, *(call for one in dependant.dependencies for call in calls(one))]

    routes = [route for route in house.app.routes if isinstance(route, APIRoute)]
    waiting = {
        (route.path, call)
        for route in routes
        for call in calls(route.dependant)
        if not iscoroutinefunction(call) and not iscoroutinefunction(type(call).__call__)
    }
    assert routes
    assert not waiting
