"""Keys and limits on the whole HTTP interface: who may do what, and how often."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from llmrec_ray.api_keys import ApiKey, Keyring, KeyScope, new_key, parse_keys
from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import LimitSettings
from serve.http.access import reread_keys
from serve.http.api import create_admin_app, create_app
from tests.integration.serve.conftest import client_of
from tests.integration.serve.test_http_refusals import check
from tests.support.service import House

OPEN = {"/livez", "/readyz", "/docs", "/openapi.json"}
SCOPES: dict[tuple[str, str], KeyScope] = {
    ("POST", "/v1/recommendations"): "read",
    ("GET", "/v1/items/{item_id}"): "read",
    ("PUT", "/v1/items"): "write",
    ("PUT", "/v1/items/{item_id}"): "write",
    ("PATCH", "/v1/items/{item_id}"): "write",
    ("DELETE", "/v1/items/{item_id}"): "write",
    ("GET", "/v1/items/{item_id}/similar"): "read",
    ("POST", "/v1/search"): "read",
    ("POST", "/v1/events"): "write",
    ("DELETE", "/v1/users/{user_id}"): "write",
    ("DELETE", "/v1/events/{event_id}"): "write",
    ("POST", "/v1/recommendations/{recommendation_id}:replay"): "read",
    ("GET", "/v1/generations"): "admin",
    ("POST", "/v1/generations/{generation}:activate"): "admin",
}
ADMIN = {route for route, scope in SCOPES.items() if scope == "admin"}
SEARCH = {"query": "robot"}


@dataclass(frozen=True)
class Guarded:
    """A service that asks for keys, one key a scope, and a client on it."""

    house: House
    http: httpx.AsyncClient
    keys: dict[str, str]
    ring: Keyring

    def headers(self, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[scope]}"}


@pytest.fixture
async def guarded(houses: Callable[..., House]) -> AsyncIterator[Guarded]:
    made = {
        scope: new_key(f"{scope}er", [cast("KeyScope", scope)]) for scope in set(SCOPES.values())
    }
    ring = Keyring([key for _, entry in made.values() for key in parse_keys(entry, "keys")])
    house = houses(keys=ring)
    await house.take_up()
    async with client_of(house) as http:
        yield Guarded(house, http, {scope: key for scope, (key, _) in made.items()}, ring)


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Every method and path of an application; HEAD comes with GET."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes), "a mount or a web socket needs a test of its own"
    return {
        (method, route.path)
        for route in routes
        for method in cast("set[str]", route.methods) - {"HEAD"}
    }


# ── who ──────────────────────────────────────────────────────────────────────────────────────────


async def test_every_route_is_open_on_purpose_or_has_a_scope(guarded: Guarded) -> None:
    for method, path in routes_of(guarded.house.app):
        answer = await guarded.http.request(method, path)
        if path in OPEN:
            assert answer.status_code == 200, path
            continue
        assert (method, path) in SCOPES, f"{method} {path} has no scope in this table"
        check(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="llmrec"'


async def test_every_route_lets_in_its_scope_and_admin_and_no_other(guarded: Guarded) -> None:
    for (method, path), needed in SCOPES.items():
        for scope in guarded.keys:
            answer = await guarded.http.request(method, path, headers=guarded.headers(scope))
            if scope in {needed, "admin"}:
                assert answer.status_code not in {401, 403}, (path, scope)
            else:
                assert f"scope `{needed}`" in check(answer, 403, "forbidden")["detail"]


async def test_the_openapi_document_says_which_scope_each_operation_needs(
    guarded: Guarded,
) -> None:
    spec = (await guarded.http.get("/openapi.json")).json()
    assert {
        (method.upper(), path): operation["security"]
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        if path not in OPEN
    } == {route: [{"bearer": [scope]}, {"header": [scope]}] for route, scope in SCOPES.items()}
    assert set(spec["components"]["securitySchemes"]) == {"bearer", "header"}


async def test_a_key_is_taken_from_either_header(guarded: Guarded) -> None:
    key = guarded.keys["read"]
    for headers in (
        {"X-API-Key": key},
        {"Authorization": f"bearer {key}"},
        {"Authorization": f"Bearer {key}", "X-API-Key": key},
    ):
        answer = await guarded.http.post("/v1/search", json=SEARCH, headers=headers)
        assert answer.status_code == 200, headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X-API-Key": "llmrec_" + "a" * 43},
        {"X-API-Key": ""},
        {"X-API-Key": b"\xff\xfe"},
        {"X-API-Key": "a" * 10_000},
    ],
)
async def test_a_wrong_key_is_refused(guarded: Guarded, headers: dict[str, str | bytes]) -> None:
    sent = {name: v.encode() if isinstance(v, str) else v for name, v in headers.items()}
    answer = await guarded.http.post(
        "/v1/search", json=SEARCH, headers={name.encode(): value for name, value in sent.items()}
    )
    check(answer, 401, "unauthorized")


async def test_two_different_keys_are_refused(guarded: Guarded) -> None:
    headers = guarded.headers("read") | {"X-API-Key": guarded.keys["admin"]}
    check(await guarded.http.post("/v1/search", json=SEARCH, headers=headers), 401, "unauthorized")


async def test_a_refused_request_does_nothing(guarded: Guarded) -> None:
    answer = await guarded.http.delete("/v1/users/u1", headers=guarded.headers("read"))
    check(answer, 403, "forbidden")
    receipt = await guarded.http.delete("/v1/users/u1", headers=guarded.headers("write"))
    assert receipt.json()["events"] > 0


async def test_a_key_is_asked_for_before_a_body_is_read(guarded: Guarded) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    check(await guarded.http.post("/v1/search", content=never()), 401, "unauthorized")


async def test_without_keys_none_is_asked_for(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/generations")).status_code == 200
    answer = await http.post("/v1/search", json=SEARCH, headers={"X-API-Key": "whatever"})
    assert answer.status_code == 200


async def test_keys_are_in_no_log_no_problem_and_no_document(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = new_key("nobody", ["read"])[0]
    told = [(await guarded.http.get("/openapi.json")).text, (await guarded.http.get("/docs")).text]
    for method, path in SCOPES:
        for key in (*guarded.keys.values(), wrong):
            answer = await guarded.http.request(method, path, headers={"X-API-Key": key})
            told += [answer.text, str(answer.headers)]
    for key in (*guarded.keys.values(), wrong):
        assert all(key not in text for text in told)
        assert key not in caplog.text
    assert "key_forbidden key=reader scope=admin" in caplog.text
    assert "key_unknown" in caplog.text


async def test_a_key_taken_from_the_list_is_refused_without_a_restart(guarded: Guarded) -> None:
    def only_admin() -> list[ApiKey]:
        found = guarded.ring.find(guarded.keys["admin"])
        assert found is not None
        return [found]

    await reread_keys(guarded.ring, only_admin)
    search = {"url": "/v1/search", "json": SEARCH}
    check(await guarded.http.post(**search, headers=guarded.headers("read")), 401, "unauthorized")
    answer = await guarded.http.post(**search, headers=guarded.headers("admin"))
    assert answer.status_code == 200


async def test_a_list_that_breaks_later_leaves_the_keys_in_force(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[ApiKey]:
        raise InvalidSettings("keys.yaml holds no key.")

    await reread_keys(guarded.ring, broken)
    check(await guarded.http.get("/v1/generations"), 401, "unauthorized")
    answer = await guarded.http.get("/v1/generations", headers=guarded.headers("admin"))
    assert answer.status_code == 200
    assert "keys.yaml holds no key" in caplog.text


# ── how often ────────────────────────────────────────────────────────────────────────────────────


async def test_requests_over_the_rate_hear_when_to_come_again(houses: Callable[..., House]) -> None:
    house = houses(limits=LimitSettings(requests_per_s=0.001, burst=2))
    await house.take_up()
    async with client_of(house) as http:
        for _ in range(2):
            assert (await http.post("/v1/search", json=SEARCH)).status_code == 200
        answer = await http.post("/v1/search", json=SEARCH)
        problem = check(answer, 429, "rate_limited")
        assert 900 < int(answer.headers["retry-after"]) <= 1000
        assert f"in {answer.headers['retry-after']} s" in problem["detail"]
        assert (await http.get("/readyz")).status_code == 200


async def test_each_key_has_a_rate_of_its_own(houses: Callable[..., House]) -> None:
    (one, first), (two, second) = new_key("one", ["read"]), new_key("two", ["read"])
    ring = Keyring(parse_keys(first + second, "keys"))
    house = houses(keys=ring, limits=LimitSettings(requests_per_s=0.001, burst=1))
    await house.take_up()
    async with client_of(house) as http:
        answers = [
            await http.post("/v1/search", json=SEARCH, headers={"X-API-Key": key})
            for key in (one, one, two)
        ]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert "`one`" in answers[1].json()["detail"]


async def test_a_body_that_does_not_arrive_is_given_up(houses: Callable[..., House]) -> None:
    house = houses(limits=LimitSettings(body_s=0.05))
    await house.take_up()

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"query": '
        await asyncio.Event().wait()

    async with client_of(house) as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/v1/search", content=stalled(), headers=headers)
    check(answer, 408, "body_timeout")
    assert answer.headers["connection"] == "close"


async def test_a_full_replica_says_so_and_still_answers_its_probes(
    houses: Callable[..., House],
) -> None:
    house = houses(limits=LimitSettings(in_flight=1))
    await house.take_up()
    shard = house.shards[0]
    shard.stuck = True
    async with client_of(house) as http:
        first = asyncio.create_task(http.post("/v1/search", json=SEARCH))
        await shard.asked.wait()
        check(await http.post("/v1/search", json=SEARCH), 429, "overloaded")
        assert (await http.get("/livez")).status_code == 200
        shard.stuck = False
        assert (await first).status_code == 200
        assert (await http.post("/v1/search", json=SEARCH)).status_code == 200


# ── the admin port ───────────────────────────────────────────────────────────────────────────────


async def test_the_admin_application_has_the_admin_routes_and_no_other(guarded: Guarded) -> None:
    assert routes_of(create_admin_app(guarded.house.service)) == ADMIN


async def test_with_admin_apart_the_service_has_all_but_the_admin_routes(guarded: Guarded) -> None:
    app = create_app(guarded.house.service, admin_apart=True)
    assert routes_of(app) == routes_of(guarded.house.app) - ADMIN
    assert "generations" not in json.dumps(list(app.openapi()["paths"]))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://test"
    ) as http:
        answer = await http.get("/v1/generations", headers=guarded.headers("admin"))
        check(answer, 404, "not_found")


async def test_the_admin_application_asks_for_the_admin_scope(guarded: Guarded) -> None:
    transport = httpx.ASGITransport(app=create_admin_app(guarded.house.service))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        check(await http.get("/v1/generations"), 401, "unauthorized")
        answer = await http.get("/v1/generations", headers=guarded.headers("write"))
        check(answer, 403, "forbidden")
        answer = await http.get("/v1/generations", headers=guarded.headers("admin"))
        assert answer.json()["serving"] == guarded.house.made.manifest.generation
        check(await http.get("/docs"), 404, "not_found")
