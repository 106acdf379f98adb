"""Replicas of shards and the watch of an ingress, over a store whose next generation is bad."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.generation.activation import activate
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.manifest import FORMAT, Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import manifest_key
from llmrec_ray.items.log import ItemWrite
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Item, WeightedEvent
from serve.calls.questions import Found, Gather, Lookup
from serve.calls.questions import Told as Answered
from serve.shards import Place, ShardReplica, ShardState
from serve.watch import Probe, Probes, Told, Watch
from tests.support.generations import FaultyStore, draft

SHARDS = 2


class Group:
    """Two replicas that poll all the time, and the watch of an ingress that looks when told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "objects"
        self.store = FaultyStore(FolderStore(self.folder, durable=False))
        self.good = self.publish(0)
        self.replicas = [ShardReplica.__new__(ShardReplica) for _ in range(SHARDS)]
        self.events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=60)
        self.watch = Watch(
            Follower(self.store),
            Pinned(),
            Probes(
                shards=[self._states(number) for number in range(SHARDS)],
                encoder=self._encoder,
                generator=self._generator,
                events=lambda: None,
            ),
            poll_s=60,
        )

    async def start(self, items_poll_s: float = 60) -> None:
        for number, replica in enumerate(self.replicas):
            place = Place(number, SHARDS, poll_s=0.01, items_poll_s=items_poll_s)
            await ShardReplica.__init__(
                replica, lambda: self.store, lambda: self.events.items, place
            )
        await self.watch.look()

    async def stop(self) -> None:
        for replica in self.replicas:
            replica.__del__()
        await asyncio.get_running_loop().shutdown_default_executor()
        self.events.close()

    def publish(self, seed: int) -> Manifest:
        """Publish a generation and make it current."""
        made = publish(self.store, draft(20, seed), segments=4)
        activate(self.store, made.generation, "test")
        return made

    async def until(self, condition: Callable[[list[ShardState]], bool]) -> None:
        """Until what the replicas say is so."""
        async with asyncio.timeout(30):
            while not condition([await one.state() for one in self.replicas]):  # noqa: ASYNC110 they tell nobody
                await asyncio.sleep(0.001)
        await self.watch.look()

    async def ask(self, generation: str) -> None:
        """Every shard is asked for a generation; an error fails the test."""
        for replica in self.replicas:
            [told] = await replica.answer(
                [Gather(generation, (WeightedEvent("e", "f1", "like", 1.0),))]
            )
            assert not isinstance(told, Exception), told

    @property
    def waits_for(self) -> str:
        return " ".join(part.waits_for or "" for part in self.watch.components())

    def _states(self, number: int) -> Probe[ShardState]:
        async def states() -> Told[ShardState]:
            return Told(1, [await self.replicas[number].state()])

        return states

    async def _encoder(self) -> Told[EncoderInfo]:
        return Told(1, [draft().encoder])

    async def _generator(self) -> Told[str]:
        return Told(1, ["a model"])


@pytest.fixture
async def group(tmp_path: Path) -> AsyncIterator[Group]:
    made = Group(tmp_path)
    await made.start()
    assert made.watch.serving() == made.good.generation
    yield made
    await made.stop()


def loaded(state: ShardState, manifest: Manifest) -> bool:
    """Whether a replica holds a generation, and has said so."""
    return manifest.generation in state.held and state.trouble is None


def cut(data: bytes) -> bytes:
    return data[:-3]


def flipped(data: bytes) -> bytes:
    return bytes([*data[:-9], data[-9] ^ 1, *data[-8:]])


def newer(data: bytes) -> bytes:
    return re.sub(rb'"format": \d+', f'"format": {FORMAT + 1}'.encode(), data)


BAD: dict[str, tuple[str, Callable[[bytes], bytes | None], str]] = {
    "an object cut short": ("items", cut, "verify --remove-damaged"),
    "an object with a flipped bit": ("text", flipped, "verify --remove-damaged"),
    "a missing object": ("text", lambda _: None, "is missing"),
    "a missing manifest": ("", lambda _: None, "generations list"),
    "a newer format": ("", newer, "Upgrade llmrec-ray"),
}


@pytest.mark.parametrize(("channel", "damage", "words"), BAD.values(), ids=BAD.keys())
async def test_a_bad_generation_is_told_and_the_good_one_serves_until_it_is_whole(
    group: Group, channel: str, damage: Callable[[bytes], bytes | None], words: str
) -> None:
    made = publish(group.store, draft(20, 1), segments=4)
    keys = [segment.objects[channel].key for segment in made.segments] if channel else []
    for key in (keys := keys or [manifest_key(made.generation)]):
        group.store.create(f"kept/{key}", group.store.get(key))
    activate(group.store, made.generation, "test")
    for key in keys:
        damaged = damage(whole := group.store.get(key))
        assert damaged != whole
        group.store.delete(key)
        if damaged is not None:
            group.store.create(key, damaged)
    await group.until(lambda states: all(words in (state.trouble or "") for state in states))
    assert group.watch.serving() == group.good.generation
    assert words in group.waits_for
    await group.ask(group.good.generation)
    for key in keys:
        group.store.delete(key)
        group.store.create(key, group.store.get(f"kept/{key}"))
    await group.until(lambda states: all(loaded(state, made) for state in states))
    assert group.watch.serving() == made.generation
    assert group.waits_for.strip() == ""


async def test_a_store_that_is_away_is_told_and_changes_nothing(group: Group) -> None:
    group.store.down = True
    for _ in range(60):
        await group.until(lambda states: all(state.trouble for state in states))
        assert group.watch.serving() == group.good.generation
        assert "made to fail" in group.waits_for
        await group.ask(group.good.generation)
    group.store.down = False
    made = group.publish(1)
    await group.until(lambda states: all(loaded(state, made) for state in states))
    assert group.watch.serving() == made.generation


async def test_objects_that_the_store_does_not_give_are_asked_for_until_it_does(
    group: Group,
) -> None:
    group.store.fails_to_read = lambda key: key.startswith("objects/")
    made = group.publish(1)
    await group.until(lambda states: all(state.trouble for state in states))
    assert group.watch.serving() == group.good.generation
    await group.ask(group.good.generation)
    group.store.fails_to_read = lambda _: False
    await group.until(lambda states: all(loaded(state, made) for state in states))
    assert group.watch.serving() == made.generation


async def test_a_third_generation_waits_while_two_are_asked_for(group: Group) -> None:
    second = group.publish(1)
    await group.until(lambda states: all(second.generation in state.held for state in states))
    for generation in (group.good.generation, second.generation):
        await group.ask(generation)
    third = group.publish(2)
    words = f"{third.generation} to be loaded, once {group.good.generation} is no longer asked for"
    await group.until(lambda states: all(state.trouble == words for state in states))
    assert group.watch.serving() == second.generation
    await group.ask(group.good.generation)


async def test_a_live_item_that_cannot_be_read_is_told_of_and_the_others_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group(tmp_path)
    encoder = draft().encoder
    vector = np.eye(1, encoder.dim, dtype=np.float32).tobytes()
    bad = ItemWrite("f1", Item("f1", "Heat", {}), vector, encoder.hash)
    group.events.items.write([bad, replace(bad, item_id="new", item=Item("new", "Ronin", {}))])
    with closing(sqlite3.connect(tmp_path / "events.db")) as database, database:
        database.execute("UPDATE live_items SET fields = '{' WHERE item_id = 'f1'")
    await group.start(items_poll_s=0.01)
    words = "what is stored of 1 live items cannot be read, 'f1' for one"
    await group.until(lambda states: all(words in (state.trouble or "") for state in states))
    assert group.watch.serving() == group.good.generation
    assert words in group.waits_for
    questions = [Lookup(group.good.generation, ("f1", "f2", "new"))]
    looked: list[str] = []
    for replica in group.replicas:
        [told] = await replica.answer(questions)
        assert isinstance(told, Answered)
        items, _ = cast(Found, told.answer)
        looked += items
    assert sorted(looked) == ["f2", "new"]
    logged = [vars(one) for one in caplog.records if one.msg == "live_item_unreadable"]
    assert [one["item"] for one in logged] == ["f1"] * SHARDS
    group.events.items.write([bad])
    await group.until(lambda states: all(state.trouble is None for state in states))
    await group.stop()
