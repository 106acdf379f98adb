"""The HTTP interface on requests and parts that fail: every answer is a problem with a remedy."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from llmrec_ray.generation.activation import activation_key
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import manifest_key
from llmrec_ray.settings import LimitSettings
from serve.calls.mailbox import Sharing
from tests.integration.serve.conftest import client_of
from tests.support.generations import draft
from tests.support.service import House

JSON = {"Content-Type": "application/json"}
LIKE = {
    "event_id": "e1",
    "user_id": "new",
    "item_id": "f00",
    "type": "like",
    "time": "2026-01-01T00:00:00Z",
}


def check(answer: httpx.Response, status: int, code: str) -> Any:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]
    return problem


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/search", "/v1/events"])
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "malformed_body"),
        (b"", JSON, 400, "malformed_body"),
        (b'{"user_id": "\xff\xfe"}', JSON, 400, "malformed_body"),
        (b"null", JSON, 422, "invalid_input"),
        (b"[1, 2]", JSON, 422, "invalid_input"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (
            b"{}",
            {"Content-Type": "application/json; charset=latin-1"},
            415,
            "unsupported_media_type",
        ),
        (b"[" * 100_000, JSON, 400, "malformed_body"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem(
    http: httpx.AsyncClient,
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    check(await http.post(path, content=body, headers=headers), status, code)


@pytest.fixture
async def tight(houses: Callable[..., House]) -> AsyncIterator[httpx.AsyncClient]:
    """A service that takes bodies of 200 bytes at most."""
    house = houses(limits=LimitSettings(body_bytes=200))
    await house.take_up()
    async with client_of(house) as client:
        yield client


async def test_a_body_over_the_limit_is_refused(tight: httpx.AsyncClient) -> None:
    body = b'{"query": "' + b"a" * 200 + b'"}'
    check(await tight.post("/v1/search", content=body, headers=JSON), 413, "too_large")


async def test_a_body_of_unknown_length_is_cut_at_the_limit(tight: httpx.AsyncClient) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 100
            assert taken < 10_000
            yield b" " * 100

    answer = await tight.post("/v1/search", content=endless(), headers=JSON)
    check(answer, 413, "too_large")


# ── values ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/search", {"query": ""}, "#/query"),
        ("/v1/search", {"query": " \n"}, "#/query"),
        ("/v1/search", {"query": "a" * 2001}, "#/query"),
        ("/v1/search", {"query": "a", "metric": "manhattan"}, "#/metric"),
        ("/v1/recommendations", {"user_id": "u", "limit": 0}, "#/limit"),
        ("/v1/recommendations", {"user_id": "u", "limit": 10**6}, "#/limit"),
        ("/v1/recommendations", {"user_id": "u", "filter": {"a": 1}}, "#/filter/a"),
        ("/v1/recommendations", {"user_id": 5}, "#/user_id"),
        (
            "/v1/recommendations",
            {"session": [{"item_id": "f00", "weight": w} for w in (1e308, -1e308)]},
            "#/session/0/weight",
        ),
        ("/v1/events", LIKE | {"type": "stare"}, "#/type"),
    ],
)
async def test_a_value_that_cannot_be_used_is_pointed_at(
    http: httpx.AsyncClient, path: str, body: object, pointer: str
) -> None:
    problem = check(await http.post(path, json=body), 422, "invalid_input")
    assert pointer in [error.get("pointer") for error in problem["errors"]]


async def test_an_infinite_weight_is_refused(http: httpx.AsyncClient) -> None:
    body = b'{"session": [{"item_id": "f00", "weight": Infinity}]}'
    answer = await http.post("/v1/recommendations", content=body, headers=JSON)
    check(answer, 422, "invalid_input")


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "director", "equals": "Someone"},
        {"field": "year", "equals": "nineteen"},
        {"field": "genres", "range": {"gt": 1}},
    ],
)
async def test_a_filter_that_does_not_fit_the_catalogue_is_refused(
    http: httpx.AsyncClient, condition: object
) -> None:
    body = {"query": "robot", "filter": condition}
    check(await http.post("/v1/search", json=body), 422, "invalid_filter")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("limit=0", "limit"), ("limit=many", "limit"), ("metric=far", "metric")],
)
async def test_a_parameter_that_cannot_be_used_is_named(
    http: httpx.AsyncClient, query: str, parameter: str
) -> None:
    problem = check(await http.get(f"/v1/items/f00/similar?{query}"), 422, "invalid_input")
    assert [error["parameter"] for error in problem["errors"]] == [parameter]


@pytest.mark.parametrize("path", ["%FF", "%00", "a" * 257])
async def test_an_id_in_the_path_that_cannot_be_one_is_refused(
    http: httpx.AsyncClient, path: str
) -> None:
    check(await http.get(f"/v1/items/{path}"), 422, "invalid_input")


# ── things that are not there ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/v1/items/f99", "/v1/items/f99/similar"])
async def test_an_unknown_item_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    check(await http.get(path), 404, "item_not_found")


@pytest.mark.parametrize("name", ["g-nothing", "..%2F..%2Fsecret"])
async def test_an_unknown_generation_is_not_found(http: httpx.AsyncClient, name: str) -> None:
    check(await http.post(f"/v1/generations/{name}:activate"), 404, "generation_not_found")


async def test_an_unknown_path_and_a_wrong_method_are_problems(http: httpx.AsyncClient) -> None:
    check(await http.get("/v2/anything"), 404, "not_found")
    refused = await http.get("/v1/search")
    check(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


async def test_a_generation_of_another_model_cannot_be_activated(
    http: httpx.AsyncClient, house: House
) -> None:
    other = publish(house.objects, draft())
    answer = await http.post(f"/v1/generations/{other.generation}:activate")
    check(answer, 409, "encoder_mismatch")
    assert (await http.get("/v1/generations")).json()["current"] == (house.made.manifest.generation)


async def test_a_generation_of_a_newer_release_is_told_of_when_it_is_activated(
    http: httpx.AsyncClient, house: House
) -> None:
    manifest = house.made.manifest
    newer = manifest.model_copy(update={"format": 99, "generation": "g-newer"})
    house.objects.create(manifest_key("g-newer"), newer.model_dump_json().encode())
    problem = check(await http.post("/v1/generations/g-newer:activate"), 409, "corrupt")
    assert "has format 99" in problem["detail"]
    assert "Upgrade llmrec-ray" in problem["detail"]
    assert (await http.get("/v1/generations")).json()["current"] == manifest.generation


async def test_a_damaged_activation_is_told_of_and_another_one_heals_it(
    http: httpx.AsyncClient, house: House
) -> None:
    house.objects.create(activation_key(2), b"{")
    problem = check(await http.get("/v1/generations"), 409, "corrupt")
    assert problem["detail"].startswith("activations/00000002.json cannot be read")
    generation = house.made.manifest.generation
    activated = await http.post(f"/v1/generations/{generation}:activate")
    assert activated.json() == {"generation": generation, "number": 3}
    assert (await http.get("/v1/generations")).json()["current"] == generation


async def test_events_that_are_all_rejected_are_a_problem(http: httpx.AsyncClient) -> None:
    unknown = LIKE | {"item_id": "f99"}
    single = check(await http.post("/v1/events", json=unknown), 422, "events_rejected")
    assert [error["pointer"] for error in single["errors"]] == ["#/item_id"]
    batch = await http.post("/v1/events", json={"events": [unknown]})
    problem = check(batch, 422, "events_rejected")
    assert [error["pointer"] for error in problem["errors"]] == ["#/events/0/item_id"]


async def test_an_event_id_with_another_body_is_a_conflict(http: httpx.AsyncClient) -> None:
    await http.post("/v1/events", json=LIKE)
    answer = await http.post("/v1/events", json=LIKE | {"item_id": "f01"})
    check(answer, 409, "event_conflict")


# ── parts that are lost ──────────────────────────────────────────────────────────────────────────


async def test_a_lost_shard_degrades_the_answer(http: httpx.AsyncClient, house: House) -> None:
    house.shards[1].lost = True
    answer = (await http.post("/v1/recommendations", json={"user_id": "u1"})).json()
    assert answer["coverage"] == {"shards_ok": 1, "shards_total": 2}
    assert answer["degraded"] == ["search"]
    assert answer["items"]


async def test_no_shard_at_all_is_unavailable(http: httpx.AsyncClient, house: House) -> None:
    for shard in house.shards:
        shard.lost = True
    answer = await http.post("/v1/recommendations", json={"user_id": "u1"})
    check(answer, 503, "search_unavailable")
    assert answer.headers["retry-after"]


async def test_without_the_embedder_users_are_served_and_texts_are_not(
    http: httpx.AsyncClient, house: House
) -> None:
    house.model.lost = True
    assert (await http.post("/v1/recommendations", json={"user_id": "u1"})).status_code == 200
    answer = await http.post("/v1/search", json={"query": "robot"})
    check(answer, 503, "embedder_unavailable")
    assert answer.headers["retry-after"]


async def test_without_the_event_store_users_are_served_and_events_are_not_taken(
    http: httpx.AsyncClient, house: House
) -> None:
    known = (await http.post("/v1/recommendations", json={"user_id": "u1"})).json()
    house.events.lost = True
    answer = (await http.post("/v1/recommendations", json={"user_id": "u1"})).json()
    assert answer["degraded"] == ["feedback"]
    assert answer["items"] == known["items"]
    refused = await http.post("/v1/events", json=LIKE)
    check(refused, 503, "event_store_unavailable")
    assert refused.headers["retry-after"]


async def test_an_overload_is_refused_at_once(houses: Callable[..., House]) -> None:
    house = houses(sharing=Sharing(deadline_s=5, shared=1, pending=0))
    await house.take_up()
    async with client_of(house) as http:
        answer = await http.post("/v1/recommendations", json={"user_id": "nobody"})
        check(answer, 429, "overloaded")
        assert answer.headers["retry-after"]


async def test_an_unforeseen_failure_tells_nothing_of_itself(
    http: httpx.AsyncClient, house: House
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("secret of the machine")

    house.app.add_api_route("/broken", broken)
    answer = await http.get("/broken", params={"_": "1"})
    check(answer, 500, "internal")
    assert "secret" not in answer.text


# ── request ids ──────────────────────────────────────────────────────────────────────────────────


async def test_a_sane_request_id_is_echoed(http: httpx.AsyncClient) -> None:
    answer = await http.get("/livez", headers={"X-Request-Id": "trace-1.a:b"})
    assert answer.headers.get_list("x-request-id") == ["trace-1.a:b"]


@pytest.mark.parametrize("given", ["", "a b", "<script>", "x" * 200])
async def test_another_request_id_is_replaced(http: httpx.AsyncClient, given: str) -> None:
    answer = await http.get("/v1/items/f99", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] not in {"", given}
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
