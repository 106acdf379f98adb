"""The event store has no room: a 503 that says so, answers go on, and what was promised stays."""

import httpx

from serve.http.problems import MEDIA_TYPE
from tests.support.full_disk import database_full
from tests.support.service import House

TIME = "2026-01-02T03:04:05Z"
MANY = 500
"""Batches that are more than any free page of a small database takes."""


def batch(number: int) -> dict[str, object]:
    return {
        "events": [
            {"event_id": f"{number}-{n}", "user_id": "ada", "item_id": "f01", "type": "like"}
            | {"time": TIME}
            for n in range(20)
        ]
    }


async def until_it_is_full(http: httpx.AsyncClient, first: int) -> tuple[int, httpx.Response]:
    """Send batches until one is not stored: its number, and what was answered."""
    for number in range(first, first + MANY):
        answer = await http.post("/v1/events", json=batch(number))
        if answer.status_code != 200:
            return number, answer
    raise AssertionError("the disk is never full")


async def test_events_are_refused_with_the_reason_and_those_before_stay(
    http: httpx.AsyncClient, house: House
) -> None:
    with database_full(house.events.store._engine):
        refused, answer = await until_it_is_full(http, 0)
        problem = answer.json()
        assert answer.status_code == 503
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert answer.headers["retry-after"]
        assert problem["code"] == "event_store_unavailable"
        assert "the disk is full. Make room" in problem["detail"]
        asked = await http.post("/v1/recommendations", json={"user_id": "ada"})
        assert asked.status_code == 200
        version = asked.json()["user_version"]
        assert version == refused
    again = await http.post("/v1/events", json=batch(refused))
    assert again.json()["accepted"] == 20
    assert again.json()["user_versions"] == {"ada": version + 1}
    kept = {event.event_id for event in house.events.store.scan() if event.user_id == "ada"}
    assert kept == {f"{number}-{n}" for number in range(refused + 1) for n in range(20)}


async def put_until_it_is_full(http: httpx.AsyncClient) -> tuple[int, httpx.Response]:
    """Put items until one is not stored: its number, and what was answered."""
    for number in range(MANY):
        put = await http.put(f"/v1/items/new-{number}", json={"title": "New " * 75})
        if put.status_code != 200:
            return number, put
    raise AssertionError("the disk is never full")


async def test_items_are_refused_with_the_reason_and_are_not_there(
    http: httpx.AsyncClient, house: House
) -> None:
    with database_full(house.events.store._engine):
        refused, put = await put_until_it_is_full(http)
        assert (put.status_code, put.json()["code"]) == (503, "event_store_unavailable")
        assert "Make room" in put.json()["detail"]
        await house.catch_up()
        assert (await http.get(f"/v1/items/new-{refused}")).status_code == 404
    assert (await http.put(f"/v1/items/new-{refused}", json={"title": "New"})).status_code == 200
    await house.catch_up()
    for number in range(refused + 1):
        assert (await http.get(f"/v1/items/new-{number}")).status_code == 200
