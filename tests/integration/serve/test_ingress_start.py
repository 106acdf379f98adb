"""A new ingress replica: it is up once it can answer, or once waiting is no help."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from llmrec_ray.generation.activation import activate
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.generation.publish import publish
from llmrec_ray.ports import EncoderInfo, ObjectStore
from llmrec_ray.storage.local import FolderStore
from serve.shards import ShardState
from serve.watch import Probes, Told, Watch
from tests.support.generations import FaultyStore, draft
from tests.support.service import House

NEVER = 3600.0


async def test_it_waits_for_the_embedder_and_for_every_shard(houses: Callable[..., House]) -> None:
    house = houses()
    house.model.lost = True
    starting = asyncio.create_task(house.watch.settle(NEVER))
    await until(lambda: "the embedder" in awaited(house.watch))
    house.model.lost = False
    await until(lambda: "on every shard" in awaited(house.watch))
    assert not starting.done()
    await house.take_up()
    await starting
    assert house.watch.serving() == house.made.manifest.generation


def without_a_generation(store: FolderStore) -> ObjectStore:
    return store


def without_the_store(store: FolderStore) -> ObjectStore:
    return FaultyStore(store, down=True)


def of_another_model(store: FolderStore) -> ObjectStore:
    activate(store, publish(store, draft()).generation, "test")
    return store


@pytest.mark.parametrize(
    ("made", "awaits"),
    [
        (without_a_generation, "a published generation"),
        (without_the_store, "made to fail"),
        (of_another_model, "another model"),
    ],
)
async def test_it_is_up_at_once_where_waiting_is_no_help(
    tmp_path: Path, made: Callable[[FolderStore], ObjectStore], awaits: str
) -> None:
    watch = watch_of(made(FolderStore(tmp_path)))
    await watch.settle(NEVER)
    assert watch.serving() is None
    assert awaits in awaited(watch)


async def test_it_is_up_in_the_end_whatever_it_waits_for(houses: Callable[..., House]) -> None:
    house = houses()
    await house.watch.settle(0.01)
    assert house.watch.serving() is None


def watch_of(store: ObjectStore) -> Watch:
    async def shard() -> Told[ShardState]:
        return Told(0, [])

    async def encoder() -> Told[EncoderInfo]:
        return Told(1, [EncoderInfo("another model", "ffffffffffffffff", 4)])

    async def generator() -> Told[str]:
        return Told(0, [])

    probes = Probes([shard], encoder, generator, lambda: None)
    return Watch(Follower(store), Pinned(), probes, NEVER)


def awaited(watch: Watch) -> str:
    """What the generation waits for."""
    return watch.components()[0].waits_for or ""


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 the watch tells nobody what it awaits
        await asyncio.sleep(0.01)
