"""Live items on a real Ray node: put over HTTP, found on every shard, kept whatever dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import httpx
import pytest

from tests.e2e.conftest import Live, wait_for

pytestmark = pytest.mark.timeout(600)

QUERY = {"query": "A zebra sails around the world.", "limit": 1}


def first(http: httpx.Client) -> str | None:
    answer = http.post("/v1/search", json=QUERY)
    return answer.json()["items"][0]["item_id"] if answer.status_code == 200 else None


def test_an_item_that_was_put_is_found_also_after_its_shards_were_killed(
    http: httpx.Client, live: Live
) -> None:
    body = {"title": "Zebra", "fields": {"plot": "A zebra sails around the world."}}
    put = http.put("/v1/items/zebra", json=body)
    assert put.json()["outcome"] == "stored"
    wait_for(lambda: first(http) == "zebra")
    for shard in range(2):
        live.replica(f"shard-{shard}").kill()
    wait_for(lambda: first(http) == "zebra")
    assert http.post("/v1/search", json=QUERY).json()["delta_seq"] >= put.json()["delta_seq"]
    assert http.delete("/v1/items/zebra").json()["outcome"] == "deleted"
    wait_for(lambda: first(http) not in {None, "zebra"})


@contextmanager
def putting(url: str) -> Iterator[list[str]]:
    """One item after another is put; the ids of those that were acknowledged."""
    acknowledged: list[str] = []
    enough = Event()

    def put() -> None:
        number = 0
        with httpx.Client(base_url=url, timeout=20) as http:
            while not enough.is_set():
                number += 1
                try:
                    answer = http.put(f"/v1/items/kept-{number}", json={"title": f"Kept {number}"})
                except httpx.HTTPError:  # it died meanwhile: stored or not, nothing was promised
                    continue
                if answer.status_code == 200:
                    acknowledged.append(f"kept-{number}")

    writer = Thread(target=put)
    writer.start()
    try:
        yield acknowledged
    finally:
        enough.set()
        writer.join()


@pytest.mark.long
def test_no_acknowledged_item_is_lost_when_the_api_and_a_shard_die_amid_puts(
    http: httpx.Client, live: Live
) -> None:
    with putting(live.url) as acknowledged:
        for part in ("api", "shard-0"):
            before = len(acknowledged)
            wait_for(lambda seen=before: len(acknowledged) > seen + 5)
            live.replica(part).kill()
            before = len(acknowledged)
            wait_for(lambda seen=before: len(acknowledged) > seen + 5)
    wait_for(lambda: httpx.get(f"{live.url}/readyz").status_code == 200)
    assert acknowledged
    for item_id in acknowledged:
        wait_for(lambda asked=item_id: _similar(http, asked) == 200)
        assert http.get(f"/v1/items/{item_id}").json()["title"] == f"Kept {item_id[5:]}"
        assert http.delete(f"/v1/items/{item_id}").json()["outcome"] == "deleted"


def _similar(http: httpx.Client, item_id: str) -> int:
    """Whether a shard has the item: the item log alone answers a look at it."""
    return http.get(f"/v1/items/{item_id}/similar").status_code
