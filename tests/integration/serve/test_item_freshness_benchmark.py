"""The benchmark of live items' freshness, on the service in this process."""

import asyncio

import httpx

from benchmarks.item_freshness import IN_A_ROW, Seen, measure, probe
from llmrec_ray.generation.buckets import BUCKETS, bucket_of
from tests.support.service import House


async def _follow(house: House) -> None:
    while True:
        await house.catch_up()
        await asyncio.sleep(0)


async def test_every_item_is_found_and_none_is_left(http: httpx.AsyncClient, house: House) -> None:
    following = asyncio.ensure_future(_follow(house))
    ratios, found = await measure(http, probes=3, rate=5)
    following.cancel()
    assert ratios["lost"] == 0
    assert found["freshness_s"]["p50"] >= found["put_s"]["p50"] > 0
    assert found["background"]["failed"] == 0
    assert [one.item for one in house.events.store.items.since(0)] == [None] * 3


async def test_an_item_that_one_shard_lacks_is_not_counted_as_found(
    http: httpx.AsyncClient, house: House
) -> None:
    seen = Seen()
    asked = asyncio.ensure_future(probe(http, "new", "lantern harbour orchid", seen))
    owner = house.shards[bucket_of("new") * len(house.shards) // BUCKETS].shard
    while len(seen.searched) < IN_A_ROW:
        await asyncio.to_thread(owner.catch_up)
    assert not seen.fresh
    await house.catch_up()
    await asked
    assert len(seen.fresh) == 1
