"""A generation that cannot be used is a clear error, and the last good one keeps answering."""

import asyncio
import errno
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmrec_ray.errors import Corrupt, LLMRecError, StoreUnavailable
from llmrec_ray.generation.activation import Activation, activate, activation_key, current, rollback
from llmrec_ray.generation.manifest import FORMAT, Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest, manifest_key
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import RecommendRequest, SessionItem
from tests.support.generations import FaultyStore
from tests.support.library import Service
from tests.support.naive import catalogue, draft_of

GOOD, NEXT = draft_of(catalogue(range(12), 0)), draft_of(catalogue(range(12), 1))

ASKED = RecommendRequest(session=(SessionItem("f3"),), text="music")


class FullDisk(FolderStore):
    """A folder on a disk that takes so many bytes more: the rest of a write is not there."""

    room = 1 << 40

    def _write(self, path: Path, data: bytes) -> None:
        super()._write(path, data[: self.room])
        self.room -= len(data)
        if self.room < 0:
            self.room = 0
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(folder: Path) -> FullDisk:
    return FullDisk(folder, durable=False)


@pytest.fixture
def good(disk: FullDisk) -> Manifest:
    """The generation that is current."""
    made = publish(disk, GOOD, segments=4)
    activate(disk, made.generation, "test")
    return made


@pytest.fixture
def service(tmp_path: Path, disk: FullDisk, good: Manifest) -> Iterator[Service]:
    running = Service(tmp_path, FaultyStore(disk), 2)
    running.look()
    assert answers(running)[0] == good.generation
    yield running
    running.close()


def answers(service: Service) -> tuple[str, list[tuple[str, float]]]:
    """The generation of an answer, and the answer."""
    told = asyncio.run(service.recommender.recommend(ASKED))
    return told.generation, [(item.item_id, item.score) for item in told.items]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def removed(path: Path) -> None:
    path.unlink()


def rewritten(change: Callable[[dict], dict]) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(change(json.loads(path.read_text()))), "utf-8")


def without_a_segment(stored: dict) -> dict:
    return stored | {"segments": stored["segments"][:1] + stored["segments"][2:]}


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an object cut short": ("text", cut, r"bytes instead of .*verify"),
    "an object with a flipped bit": ("taste", flipped, r"checksum.*verify"),
    "an object that is missing": ("items", removed, r"is missing.*verify"),
    "a segment that is missing": ("", rewritten(without_a_segment), r"no segment has bucket 256"),
    "a manifest cut short": ("", cut, r"cannot be read.*publish again"),
    "a manifest that is missing": ("", removed, "generations list"),
    "a newer format": (
        "",
        rewritten(lambda stored: stored | {"format": FORMAT + 1, "news": {}}),
        rf"format {FORMAT + 1}.*Upgrade",
    ),
}


@pytest.mark.parametrize(("channel", "damage", "words"), BAD.values(), ids=BAD.keys())
def test_the_last_good_generation_answers_until_the_next_is_whole(
    service: Service,
    disk: FullDisk,
    folder: Path,
    channel: str,
    damage: Callable[[Path], object],
    words: str,
) -> None:
    before = answers(service)
    bad = publish(disk, NEXT, segments=4)
    activate(disk, bad.generation, "test")
    key = manifest_key(bad.generation)
    if channel:
        key = bad.segments[1].objects[channel].key
    whole = (folder / key).read_bytes()
    damage(folder / key)
    for _ in range(3):
        with pytest.raises(LLMRecError, match=words):
            service.look()
        assert answers(service) == before
    (folder / key).write_bytes(whole)
    service.look()
    assert answers(service)[0] == bad.generation


def test_a_bad_generation_is_left_by_a_rollback(
    service: Service, disk: FullDisk, folder: Path, good: Manifest
) -> None:
    before = answers(service)
    bad = publish(disk, NEXT, segments=4)
    activate(disk, bad.generation, "test")
    flipped(folder / bad.segments[0].objects["taste"].key)
    with pytest.raises(Corrupt):
        service.look()
    assert rollback(disk, "test").generation == good.generation
    service.look()
    assert answers(service) == before


@pytest.mark.parametrize("room", [0, 100, 5_000, 12_000])
def test_a_full_disk_fails_the_publish_and_nothing_else(
    service: Service, disk: FullDisk, folder: Path, good: Manifest, room: int
) -> None:
    before = answers(service)
    disk.room = room
    with pytest.raises(StoreUnavailable, match=r"No space left on device.*free space"):
        publish(disk, NEXT, segments=4)
    assert list((folder / ".partial").iterdir()) == [], "what was cut short is not left behind"
    assert disk.list("generations/") == [manifest_key(good.generation)]
    service.look()
    assert answers(service) == before
    disk.room = 1 << 40
    made = publish(disk, NEXT, segments=4)
    activate(disk, made.generation, "test")
    service.look()
    assert answers(service)[0] == made.generation


def test_a_full_disk_changes_nothing_that_is_current(disk: FullDisk, good: Manifest) -> None:
    made = publish(disk, NEXT, segments=4)
    disk.room = 0
    with pytest.raises(StoreUnavailable, match="free space"):
        activate(disk, made.generation, "test")
    newest = current(disk)
    assert newest is not None
    assert newest.generation == good.generation


def test_a_store_that_is_away_changes_no_answer(service: Service) -> None:
    before = answers(service)
    service.store.down = True
    for _ in range(60):
        with pytest.raises(StoreUnavailable):
            service.look()
    assert answers(service) == before
    service.store.down = False
    service.look()


def test_a_clock_that_went_back_changes_no_order(disk: FullDisk, good: Manifest) -> None:
    made = publish(disk, NEXT, segments=4)
    earlier = Activation(
        number=2,
        generation=made.generation,
        writer="a host whose clock went back",
        at=datetime(1999, 1, 1, tzinfo=UTC),
        token="t",
    )
    disk.create(activation_key(2), earlier.model_dump_json().encode())
    assert current(disk) == earlier
    assert rollback(disk, "test").number == 3
    newest = current(disk)
    assert newest is not None
    assert newest.generation == good.generation


# ── back, and over another number of shards ──────────────────────────────────────────────────────


def test_a_rollback_brings_back_the_same_answers_and_moves_no_data(
    service: Service, disk: FullDisk
) -> None:
    before = answers(service)
    made = publish(disk, NEXT, segments=4)
    activate(disk, made.generation, "test")
    service.look()
    assert answers(service)[0] == made.generation
    assert answers(service)[1] != before[1]
    stored = set(disk.list(""))
    service.store.reads.clear()
    rollback(disk, "test")
    service.look()
    assert answers(service) == before
    assert set(disk.list("")) - stored == {activation_key(3)}
    assert not [key for key in service.store.reads if key.startswith("objects/")]


@pytest.mark.parametrize("shards", [1, 4, 8])
def test_another_number_of_shards_moves_no_data_and_changes_no_answer(
    tmp_path: Path, service: Service, disk: FullDisk, shards: int
) -> None:
    before, stored = answers(service), disk.stats("")
    again = Service(tmp_path, FaultyStore(disk), shards)
    again.look()
    assert answers(again) == before
    again.close()
    assert again.store.created == []
    assert disk.stats("") == stored


def test_a_manifest_whose_segments_hold_an_item_twice_is_refused(
    disk: FullDisk, folder: Path, good: Manifest
) -> None:
    def twice(stored: dict) -> dict:
        return stored | {"segments": [*stored["segments"], stored["segments"][2]]}

    rewritten(twice)(folder / manifest_key(good.generation))
    with pytest.raises(Corrupt, match=r"segments have \d+ items instead of 12"):
        load_manifest(disk, good.generation)


def test_activations_that_come_faster_than_shards_load_lose_no_answer(
    service: Service, disk: FullDisk
) -> None:
    """One shard has loaded both of them by now; callers still ask for the one that all hold."""
    before = answers(service)
    for seed in (2, 3):
        made = publish(disk, draft_of(catalogue(range(12), seed)), segments=4)
        activate(disk, made.generation, "test")
        service.shards[0].prepare(made)
        assert answers(service) == before
    service.look()
    assert answers(service)[0] == made.generation


def test_a_generation_after_a_rollback_does_not_bring_back_what_was_left(
    service: Service, disk: FullDisk
) -> None:
    before = answers(service)
    bad = publish(disk, NEXT, segments=4)
    activate(disk, bad.generation, "test")
    service.look()
    answers(service)
    rollback(disk, "test")
    service.look()
    made = publish(disk, draft_of(catalogue(range(12), 2)), segments=4)
    activate(disk, made.generation, "test")
    service.shards[0].prepare(made)
    assert answers(service) == before


def test_a_request_that_began_before_two_changes_is_answered_by_what_is_current(
    service: Service, disk: FullDisk
) -> None:
    made: list[Manifest] = []

    async def while_it_waits() -> None:
        for seed in (2, 3):
            made.append(publish(disk, draft_of(catalogue(range(12), seed)), segments=4))
            activate(disk, made[-1].generation, "test")
            service.look()
            told = await service.recommender.recommend(ASKED)
            assert told.generation == made[-1].generation

    service.encoder.meanwhile = while_it_waits
    assert answers(service)[0] == made[-1].generation
