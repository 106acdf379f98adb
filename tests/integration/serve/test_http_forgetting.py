"""Forgetting and replay over HTTP: receipts, problems, and the metric of freshness."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from serve.observe.metrics import FRESHNESS
from tests.support.service import House

LIKE = {"user_id": "ada", "item_id": "f00", "type": "like", "time": "2026-01-01T00:00:00Z"}


async def post(http: httpx.AsyncClient, event_id: str, **other: object) -> Any:
    return await http.post("/v1/events", json={**LIKE, "event_id": event_id, **other})


async def recommended(http: httpx.AsyncClient, house: House, **body: object) -> Any:
    answer = (await http.post("/v1/recommendations", json=body)).json()
    house.shown.flush()
    return answer


async def replayed(http: httpx.AsyncClient, name: str) -> httpx.Response:
    return await http.post(f"/v1/recommendations/{name}:replay")


async def test_a_forgotten_event_has_a_receipt_and_is_not_there_twice(
    http: httpx.AsyncClient, house: House
) -> None:
    await post(http, "films/1")
    answer = await recommended(http, house, user_id="ada")
    receipt = (await http.delete("/v1/events/films%2F1")).json()
    assert datetime.fromisoformat(receipt.pop("erased_at")) <= datetime.now(UTC)
    assert receipt == {
        "event_id": "films/1",
        "events": 1,
        "recommendations": 1,
        "exports": 0,
        "user_version": 2,
        "trained_with": [],
    }
    again = await http.delete("/v1/events/films%2F1")
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    gone = await replayed(http, answer["recommendation_id"])
    assert (gone.status_code, gone.json()["code"]) == (410, "erased")


async def test_a_users_receipt_names_what_was_trained_with_the_user(
    http: httpx.AsyncClient, house: House
) -> None:
    receipt = (await http.delete("/v1/users/u1")).json()
    assert receipt["trained_with"] == [house.made.manifest.generation]
    assert (receipt["events"], receipt["user_id"]) == (4, "u1")


async def test_a_recommendation_is_replayed_with_both_answers(
    http: httpx.AsyncClient, house: House
) -> None:
    body = {"user_id": "u1", "text": "robots at sea", "evidence": True, "limit": 5}
    answer = await recommended(http, house, **body)
    await post(http, "later", user_id="u1")
    house.model.lost = True
    replay = (await replayed(http, answer["recommendation_id"])).json()
    assert replay["identical"] is True
    assert replay["stored"]["items"] == replay["again"]["items"] == answer["items"]
    assert replay["again"]["user_version"] == answer["user_version"]


async def test_a_recommendation_that_was_never_made_is_not_found(http: httpx.AsyncClient) -> None:
    problem = await replayed(http, "never")
    assert (problem.status_code, problem.json()["code"]) == (404, "not_found")


async def test_a_replay_of_a_generation_that_left_says_which(
    http: httpx.AsyncClient, house: House
) -> None:
    answer = await recommended(http, house, user_id="u1")
    for n in range(2):
        await post(http, f"e{n}", user_id=f"new-{n}")
        house.ingest()
        await house.take_up()
    problem = (await replayed(http, answer["recommendation_id"])).json()
    assert (problem["status"], problem["code"]) == (409, "not_replayable")
    assert answer["generation"] in problem["detail"]


async def test_new_events_are_measured_until_they_are_committed(
    http: httpx.AsyncClient, house: House
) -> None:
    await post(http, "e1")
    await post(http, "e1")
    await post(http, "e2", item_id="no such film")
    assert house.meters.values[FRESHNESS.name,] == 1


async def test_an_event_of_the_future_is_rejected_with_its_field(http: httpx.AsyncClient) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    problem = await post(http, "e1", time=later)
    assert problem.status_code == 422
    assert [one["pointer"] for one in problem.json()["errors"]] == ["#/time"]
