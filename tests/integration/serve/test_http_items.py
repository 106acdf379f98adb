"""Items over HTTP: put, patched, deleted, found, refused."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.service import House

NEW = {
    "title": "Zebra",
    "fields": {"plot": "A zebra sails.", "genres": ["sailing"], "year": 2026.0},
}


async def found(http: httpx.AsyncClient, query: str = "zebra sails") -> dict[str, Any]:
    answer = await http.post("/v1/search", json={"query": query, "limit": 1})
    assert answer.status_code == 200
    return answer.json()


def problem(answer: httpx.Response) -> tuple[int, str, list[str]]:
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    where = [one.get("pointer") or one.get("parameter") for one in told.get("errors", [])]
    return answer.status_code, told["code"], where


async def test_an_item_is_found_as_soon_as_the_shards_have_looked(
    house: House, http: httpx.AsyncClient
) -> None:
    async def follow() -> None:  # what every shard replica does in the background
        while True:
            await house.catch_up()
            await asyncio.sleep(0.01)

    following = asyncio.create_task(follow())
    put = (await http.put("/v1/items/new", json=NEW)).json()
    assert put == {"item_id": "new", "version": 1, "outcome": "stored", "delta_seq": 1}
    async with asyncio.timeout(30):
        while (answer := await found(http))["delta_seq"] < put["delta_seq"]:
            pass
    following.cancel()
    assert answer["items"][0]["item_id"] == "new"


async def test_a_look_shows_what_was_put_at_once_with_its_version(http: httpx.AsyncClient) -> None:
    published = await http.get("/v1/items/f03")
    assert published.headers["etag"] == f'"{published.json()["generation"]}"'
    await http.put("/v1/items/f03", json=NEW)
    looked = await http.get("/v1/items/f03")
    assert looked.headers["etag"] == '"v1"'
    assert {name: looked.json()[name] for name in NEW} == NEW


async def test_a_look_without_the_event_store_is_answered_without_a_version(
    house: House, http: httpx.AsyncClient
) -> None:
    house.events.lost = True
    looked = await http.get("/v1/items/f03")
    assert looked.status_code == 200
    assert "etag" not in looked.headers


async def test_putting_the_same_again_changes_nothing(http: httpx.AsyncClient) -> None:
    first = await http.put("/v1/items/new", json=NEW)
    again = await http.put("/v1/items/new", json=NEW)
    assert again.json() == first.json() | {"outcome": "unchanged"}
    assert again.headers["etag"] == first.headers["etag"] == '"v1"'


async def test_an_id_with_a_slash_can_be_put_and_deleted(http: httpx.AsyncClient) -> None:
    await http.put("/v1/items/films%2Fa%20b", json=NEW)
    assert (await http.get("/v1/items/films%2Fa%20b")).json()["title"] == "Zebra"
    assert (await http.delete("/v1/items/films%2Fa%20b")).json()["outcome"] == "deleted"
    assert problem(await http.get("/v1/items/films%2Fa%20b"))[1] == "item_not_found"


async def test_a_patch_changes_what_it_names(http: httpx.AsyncClient) -> None:
    before = (await http.get("/v1/items/f03")).json()
    patched = await http.patch("/v1/items/f03", json={"fields": {"year": 2001.0, "plot": None}})
    assert patched.json()["version"] == 1
    after = (await http.get("/v1/items/f03")).json()
    kept = {name: value for name, value in before["fields"].items() if name != "plot"}
    assert after == before | {"fields": kept | {"year": 2001.0}}


async def test_a_deleted_item_is_gone_at_once_and_deleting_it_again_is_no_error(
    house: House, http: httpx.AsyncClient
) -> None:
    assert (await http.delete("/v1/items/f03")).json()["outcome"] == "deleted"
    assert (await http.delete("/v1/items/f03")).json()["outcome"] == "unchanged"
    assert problem(await http.get("/v1/items/f03")) == (404, "item_not_found", [])
    assert problem(await http.patch("/v1/items/f03", json={"title": "A"}))[0] == 404
    assert problem(await http.delete("/v1/items/nowhere"))[0] == 404
    await house.catch_up()
    answer = await http.post("/v1/search", json={"query": "space", "limit": 100})
    assert "f03" not in {one["item_id"] for one in answer.json()["items"]}


async def test_an_item_that_was_changed_meanwhile_is_a_412(http: httpx.AsyncClient) -> None:
    tag = (await http.get("/v1/items/f03")).headers["etag"]
    first = await http.put("/v1/items/f03", json=NEW, headers={"If-Match": tag})
    assert first.status_code == 200
    stale = {"If-Match": tag}
    refused = [
        await http.put("/v1/items/f03", json=NEW | {"title": "Late"}, headers=stale),
        await http.patch("/v1/items/f03", json={"title": "Late"}, headers=stale),
        await http.delete("/v1/items/f03", headers=stale),
        await http.delete("/v1/items/f03", headers={"If-Match": '"g-another"'}),
    ]
    assert [problem(one)[:2] for one in refused] == [(412, "version_conflict")] * 4
    second = await http.delete("/v1/items/f03", headers={"If-Match": first.headers["etag"]})
    assert second.json()["version"] == 2


@pytest.mark.parametrize("tag", ["*", "that of the generation"])
async def test_a_condition_on_an_item_that_never_was_or_is_deleted_creates_none(
    house: House, http: httpx.AsyncClient, tag: str
) -> None:
    generation = f'"{house.made.manifest.generation}"'
    await http.delete("/v1/items/f03")
    conditional = {"If-Match": tag if tag == "*" else generation}
    for item_id in ("nope", "f03"):
        path = f"/v1/items/{item_id}"
        refused = [
            await http.put(path, json=NEW, headers=conditional),
            await http.patch(path, json={"title": "A"}, headers=conditional),
            await http.delete(path, headers=conditional),
        ]
        assert [problem(one)[:2] for one in refused] == [(412, "version_conflict")] * 3
        assert problem(await http.get(path))[0] == 404


async def test_an_item_that_only_has_to_be_there_is_changed(http: httpx.AsyncClient) -> None:
    there = {"If-Match": "*"}
    put = await http.put("/v1/items/f03", json=NEW, headers=there)
    patched = await http.patch("/v1/items/f03", json={"title": "A"}, headers=there)
    deleted = await http.delete("/v1/items/f03", headers=there)
    assert [one.json()["version"] for one in (put, patched, deleted)] == [1, 2, 3]


async def test_whether_an_item_is_there_is_not_guessed_while_its_shard_is_lost(
    house: House, http: httpx.AsyncClient
) -> None:
    for shard in house.shards:
        shard.lost = True
    refused = await http.put("/v1/items/nope", json=NEW, headers={"If-Match": "*"})
    assert problem(refused)[:2] == (503, "search_unavailable")


@pytest.mark.parametrize("tag", ["**", "v1", '"v1", "v2"', 'W/"v1"', '"v"', '"v0"', '"g-"'])
async def test_a_tag_that_cannot_be_used_is_named(http: httpx.AsyncClient, tag: str) -> None:
    answer = await http.delete("/v1/items/f03", headers={"If-Match": tag})
    assert problem(answer) == (422, "invalid_input", ["If-Match"])


async def test_a_batch_is_stored_as_one(house: House, http: httpx.AsyncClient) -> None:
    batch = [{"item_id": f"n{number}", **NEW} for number in range(40)]
    answer = (await http.put("/v1/items", json={"items": batch})).json()
    assert [one["item_id"] for one in answer["items"]] == [one["item_id"] for one in batch]
    assert answer["delta_seq"] == 40
    late = [{"item_id": "m", **NEW}, {"item_id": "n1", "version": 0, "title": "Late"}]
    assert problem(await http.put("/v1/items", json={"items": late}))[0] == 412
    assert problem(await http.get("/v1/items/m"))[0] == 404
    assert house.meters.values["llmrec_items", "stored"] == 40


@pytest.mark.parametrize(
    ("item", "pointer"),
    [
        ({"title": " "}, "title"),
        ({"title": "<b></b>"}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": "Up", "fields": {"stars": 5.0}}, "fields/stars"),
        ({"title": "Up", "fields": {"year": "soon"}}, "fields/year"),
        ({"title": "Up", "fields": {"genres": "war"}}, "fields/genres"),
        ({"title": "Up", "fields": {"plot": ["a"]}}, "fields/plot"),
        ({"title": "Up", "fields": {"plot": "x" * 20_001}}, "fields/plot"),
    ],
)
async def test_a_value_that_cannot_be_used_is_pointed_at(
    http: httpx.AsyncClient, item: dict[str, Any], pointer: str
) -> None:
    one = await http.put("/v1/items/new", json=item)
    assert problem(one) == (422, "invalid_input", [f"#/{pointer}"])
    batch = {"items": [{"item_id": "fine", **NEW}, {"item_id": "bad", **item}]}
    several = await http.put("/v1/items", json=batch)
    assert problem(several) == (422, "invalid_input", [f"#/items/1/{pointer}"])
    assert problem(await http.get("/v1/items/fine"))[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"title": "Up", "fields": {"year": NaN}}', 422),
        (b'{"title": "Up", "fields": {"year": 1e999}}', 422),
        (b'{"title": "Up", "fields": {"plot": "a\\u0000b"}}', 422),
        (b'{"title": "Up", "fields": {"year": true}}', 422),
        (b'{"title": "Up", "field": {}}', 422),
        (b'{"fields": {}}', 422),
        (b'{"title": "' + b"x" * 10_000_000 + b'"}', 413),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused(
    http: httpx.AsyncClient, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await http.put("/v1/items/new", content=body, headers=headers)
    assert answer.status_code == status
    assert problem(await http.get("/v1/items/new"))[0] == 404


async def test_an_id_twice_in_a_batch_and_too_many_items_are_refused(
    http: httpx.AsyncClient,
) -> None:
    twice = [{"item_id": "a", **NEW}, {"item_id": "a", **NEW}]
    answer = await http.put("/v1/items", json={"items": twice})
    assert problem(answer) == (422, "invalid_input", ["#/items/1/item_id"])
    many = [{"item_id": f"n{number}", **NEW} for number in range(101)]
    assert problem(await http.put("/v1/items", json={"items": many}))[0] == 422
    assert problem(await http.put("/v1/items", json={"items": []}))[0] == 422


async def test_without_an_embedder_nothing_is_stored(house: House, http: httpx.AsyncClient) -> None:
    house.model.lost = True
    for answer in (
        await http.put("/v1/items/new", json=NEW),
        await http.put("/v1/items", json={"items": [{"item_id": "new", **NEW}]}),
        await http.patch("/v1/items/f03", json={"title": "Another"}),
    ):
        assert problem(answer)[:2] == (503, "embedder_unavailable")
        assert answer.headers["retry-after"]
    assert house.events.items.since(0) == []
    assert (await http.delete("/v1/items/f03")).status_code == 200


async def test_without_the_event_store_nothing_is_acknowledged(
    house: House, http: httpx.AsyncClient
) -> None:
    await http.put("/v1/items/new", json=NEW)
    await house.catch_up()
    house.events.lost = True
    refused = [
        await http.put("/v1/items/other", json=NEW),
        await http.patch("/v1/items/f03", json={"title": "Another"}),
        await http.delete("/v1/items/f03"),
    ]
    assert [problem(one)[:2] for one in refused] == [(503, "event_store_unavailable")] * 3
    assert (await found(http))["items"][0]["item_id"] == "new"


async def test_a_replay_says_that_live_items_moved_on(
    house: House, http: httpx.AsyncClient
) -> None:
    shown = (await http.post("/v1/recommendations", json={"text": "space", "limit": 3})).json()
    house.shown.flush()
    await http.delete(f"/v1/items/{shown['items'][0]['item_id']}")
    await house.catch_up()
    replay = (await http.post(f"/v1/recommendations/{shown['recommendation_id']}:replay")).json()
    assert not replay["identical"]
    assert (replay["stored"]["delta_seq"], replay["again"]["delta_seq"]) == (0, 1)
    assert "live items changed" in replay["reason"]
