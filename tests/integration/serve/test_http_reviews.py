"""Reviews over HTTP: a text counts in the next answer, and what makes no sense is refused."""

from typing import Any

import httpx
import pytest

from tests.integration.serve.test_http_answers import recommend
from tests.support.service import House

REVIEW = {
    "event_id": "r1",
    "user_id": "ada",
    "item_id": "f00",
    "type": "review",
    "time": "2026-01-01T00:00:00Z",
    "text": "I loved this: a beautiful robot, a wonderful ocean.",
}


async def post(http: httpx.AsyncClient, **change: object) -> httpx.Response:
    return await http.post("/v1/events", json=REVIEW | change)


async def asked(http: httpx.AsyncClient, **who: object) -> Any:
    return await recommend(http, limit=40, evidence=True, **who)


def adds_up(answer: Any) -> None:
    assert answer["items"]
    for item in answer["items"]:
        total = item["prior"] + sum(share["share"] for share in item["evidence"])
        assert total == pytest.approx(item["score"], rel=1e-6)


def scores(answer: Any) -> dict[str, float]:
    return {item["item_id"]: item["score"] for item in answer["items"]}


async def test_what_a_review_says_changes_the_next_answer_and_its_evidence(
    http: httpx.AsyncClient,
) -> None:
    posted = await post(http)
    assert posted.json()["user_versions"] == {"ada": 2}
    await post(http, event_id="r2", user_id="bob", text="I loved this: war, crime and music.")
    ada, bob = await asked(http, user_id="ada"), await asked(http, user_id="bob")
    adds_up(ada)
    adds_up(bob)
    assert scores(ada).keys() == scores(bob).keys()
    assert scores(ada) != scores(bob)
    told = [share for share in ada["items"][0]["evidence"] if share["event_id"] == "r1"]
    assert [(share["type"], share["item_id"]) for share in told] == [("review", "f00")]


async def test_a_value_beside_the_text_decides_which_way_it_pulls(http: httpx.AsyncClient) -> None:
    await post(http, value=5)
    await post(http, event_id="r2", user_id="bob", value=1)
    up, down = scores(await asked(http, user_id="ada")), scores(await asked(http, user_id="bob"))
    assert max(up, key=up.__getitem__) != max(down, key=down.__getitem__)


async def test_a_review_is_accepted_while_the_embedder_is_away(
    http: httpx.AsyncClient, house: House
) -> None:
    house.model.lost = True
    posted = await post(http)
    assert (posted.status_code, posted.json()["accepted"]) == (200, 1)
    answer = await asked(http, user_id="ada")
    assert answer["user_version"] == 1
    adds_up(answer)


async def test_a_session_tells_what_events_tell(http: httpx.AsyncClient) -> None:
    told = [
        {"item_id": "f01", "type": "rating", "value": 1},
        {"item_id": "f00", "type": "review", "text": REVIEW["text"]},
    ]
    answer = await asked(http, session=told)
    adds_up(answer)
    assert answer["degraded"] == []
    await http.post(
        "/v1/events",
        json={
            "events": [
                {**one, "event_id": f"e{at}", "user_id": "ada", "time": f"2026-01-0{at + 1}T00:00Z"}
                for at, one in enumerate(told)
            ]
        },
    )
    assert scores(answer) == scores(await asked(http, user_id="ada"))


async def test_a_session_review_without_an_embedder_degrades_the_answer(
    http: httpx.AsyncClient, house: House
) -> None:
    house.model.lost = True
    told = {"item_id": "f00", "type": "review", "text": REVIEW["text"]}
    answer = await asked(http, session=[told])
    assert answer["degraded"] == ["embed"]


@pytest.mark.parametrize("text", ["", " \n\t", "nul\u0000", "x" * 2_001])
async def test_a_text_that_cannot_be_a_review_is_refused(
    http: httpx.AsyncClient, text: str
) -> None:
    refused = await post(http, text=text)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/text"
    assert (await asked(http, user_id="ada"))["user_version"] == 0


async def test_ten_megabytes_of_review_are_refused_before_they_are_read(
    http: httpx.AsyncClient,
) -> None:
    refused = await post(http, text="x" * 10_000_000)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("text", ["这部电影太精彩了。", "فيلم رائع", "🎬" * 500, "?!"])
async def test_a_review_in_any_language_is_taken(http: httpx.AsyncClient, text: str) -> None:
    assert (await post(http, text=text)).status_code == 200
    adds_up(await asked(http, user_id="ada"))


async def test_a_forgotten_review_leaves_nothing_of_what_it_said(http: httpx.AsyncClient) -> None:
    before = scores(await asked(http, user_id="ada"))
    await post(http)
    assert scores(await asked(http, user_id="ada")) != before
    assert (await http.delete("/v1/events/r1")).status_code == 200
    assert scores(await asked(http, user_id="ada")) == before
