"""Live items on a real Ray node: put over HTTP, found on every shard, kept by a shard that dies."""

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
