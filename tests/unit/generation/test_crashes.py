"""A crash or a bad reply at every write: the last good generation serves, and a retry completes."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from llmrec_ray.errors import Conflict, StoreUnavailable
from llmrec_ray.generation.activation import activate, current, history, rollback
from llmrec_ray.generation.buckets import BUCKETS, bucket_of
from llmrec_ray.generation.collection import collect_garbage
from llmrec_ray.generation.contents import contents
from llmrec_ray.generation.draft import ChannelTable, Draft
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.leases import LASTS, LEASES
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, load_manifest, verify
from llmrec_ray.generation.retention import Retention
from llmrec_ray.ports import ObjectStore
from llmrec_ray.shard import Shard
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.local import FolderStore
from tests.support.faults import CRASHES, REPLIES, Crashed, FaultAt, How, pass_time
from tests.support.generations import draft

HOWS = (*CRASHES, *REPLIES)
FINE = 2  # segments: few writes, and every kind of them


@dataclass
class Place:
    """A folder with an old generation, the one before, the current one, and one not activated."""

    folder: Path
    store: FolderStore
    oldest: str
    before: str
    good: str
    waiting: str


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "objects"
    store = FolderStore(folder, durable=False)
    names = [publish(store, draft(10, seed), segments=FINE).generation for seed in range(4)]
    for name in names[:3]:
        activate(store, name, "test")
    pass_time(folder, timedelta(days=2))
    return Place(folder, store, *names)


def served(store: ObjectStore) -> str:
    """The generation that a service which starts now loads from whole objects, on two shards."""
    manifest = Follower(store).poll()
    assert manifest is not None
    for number in range(2):
        shard = Shard(store, number, 2)
        shard.prepare(manifest)
        assert shard.held == (manifest.generation,)
    return manifest.generation


def sound(store: ObjectStore) -> bool:
    return all(verify(store, name) == [] for name in list_generations(store))


def at_every_write(
    place: Place, how: How, work: Callable[[ObjectStore], object], after: Callable[[FaultAt], None]
) -> int:
    """Run the work on copies, each with another write gone wrong; how many writes there are."""
    for number in range(1000):
        copied = _copy(place, f"{how}-{number}")
        faulty = FaultAt(copied.store, number, how)
        try:
            work(faulty)
        except (StoreUnavailable, Crashed):
            assert faulty.reached
        if not faulty.reached:
            return number
        after(faulty)
    raise AssertionError("the work never ends")


def _copy(place: Place, name: str) -> Place:
    """The same objects, with their times, in a folder of their own."""
    folder = place.folder.with_name(name)
    shutil.copytree(place.folder, folder)
    return replace(place, folder=folder, store=FolderStore(folder, durable=False))


def _leases_run_out(store: ObjectStore) -> None:
    assert isinstance(store, FolderStore)
    pass_time(store._root, LASTS * 2, LEASES)


@pytest.mark.parametrize("how", HOWS)
def test_publish(place: Place, how: How) -> None:
    made = draft(12, 9)

    def after(faulty: FaultAt) -> None:
        store = faulty.inner
        assert served(store) == place.good
        assert sound(store), "a generation that is visible has all its objects"
        manifest = publish(store, made, segments=FINE)
        activate(store, manifest.generation, "test")
        faulty.arrive()
        assert served(store) == manifest.generation
        assert sound(store)

    writes = at_every_write(place, how, lambda store: publish(store, made, segments=FINE), after)
    assert writes == FINE * 4 + 3  # the objects, the manifest, a lease opened and closed


@pytest.mark.parametrize("how", HOWS)
def test_publish_beside_what_is_current(place: Place, how: How) -> None:
    whole = draft(40, 9)
    base = publish(place.store, whole, segments=FINE)
    activate(place.store, base.generation, "test")
    made = _changed(whole)

    def beside(store: ObjectStore) -> Manifest:
        return publish(store, made, base=base)

    def after(faulty: FaultAt) -> None:
        store = faulty.inner
        assert served(store) == base.generation
        assert sound(store), "a generation that is visible has all its objects"
        manifest = beside(store)
        activate(store, manifest.generation, "test")
        faulty.arrive()
        assert served(store) == manifest.generation
        assert sound(store)
        assert [one.rows for one in manifest.segments[FINE:]] == [1]
        assert sorted(texts(contents(store, manifest).items, "title")) == sorted(
            texts(made.items, "title")
        )

    writes = at_every_write(place, how, beside, after)
    # the new segment's objects, three of both others, and what every publish writes
    assert writes == 4 + 3 * FINE + 3


def _changed(whole: Draft) -> Draft:
    """One film has another title, one in another segment is gone, and learned is anew."""
    ids = texts(whole.items, "item_id")
    halves = [bucket_of(one) * FINE // BUCKETS for one in ids]
    renamed, gone = halves.index(0, 1), halves.index(1, 1)  # the first has no popularity to lose
    titles = texts(whole.items, "title")
    titles[renamed] = "Another"
    kept = [row for row in range(len(ids)) if row != gone]
    place = whole.items.schema.get_field_index("title")
    items = whole.items.set_column(place, "title", pa.array(titles)).take(kept)

    def still(channel: ChannelTable) -> ChannelTable:
        if channel.kind != "neighbours":
            return replace(channel, table=channel.table.take(kept))
        stays = [target != ids[gone] for target in texts(channel.table, "target")]
        return replace(channel, table=channel.table.filter(pa.array(stays)))

    channels = tuple(map(still, whole.channels))
    return replace(whole, items=items, channels=channels, events=whole.events + 1)


@pytest.mark.parametrize("how", HOWS)
def test_activate(place: Place, how: How) -> None:
    def after(faulty: FaultAt) -> None:
        store = faulty.inner
        assert served(store) in {place.good, place.waiting}
        if how in {"lost", "repeated"}:
            assert served(store) == place.waiting or faulty.at == 0
        activate(store, place.waiting, "test")
        faulty.arrive()
        assert served(store) == place.waiting
        assert [one.number for one in history(store)] == list(range(1, len(history(store)) + 1))

    writes = at_every_write(place, how, lambda store: activate(store, place.waiting, "test"), after)
    assert writes == 3


@pytest.mark.parametrize("how", HOWS)
def test_rollback(place: Place, how: How) -> None:
    def after(faulty: FaultAt) -> None:
        store = faulty.inner
        newest = current(store)
        assert newest is not None
        assert served(store) == newest.generation
        assert newest.generation in {place.good, place.before}
        if newest.generation == place.good:
            rollback(store, "test")
        faulty.arrive()
        assert served(store) == place.before

    assert at_every_write(place, how, lambda store: rollback(store, "test"), after) == 3


@pytest.mark.parametrize("how", HOWS)
def test_gc(place: Place, how: How) -> None:
    retention = Retention(keep=2)

    def after(faulty: FaultAt) -> None:
        store = faulty.inner
        assert served(store) == place.good
        assert sound(store), "no generation is left that lacks an object"
        _leases_run_out(store)
        collect_garbage(store, retention)
        faulty.arrive()
        assert served(store) == place.good
        assert list_generations(store) == sorted([place.before, place.good])
        assert len(store.list("objects/")) == 2 * FINE * 4 - _shared(store)
        assert sound(store)
        assert rollback(store, "test").generation == place.before

    writes = at_every_write(place, how, lambda store: collect_garbage(store, retention), after)
    assert writes == 1 + 2 * (1 + FINE)  # a lease, two manifests and their text vectors


def _shared(store: ObjectStore) -> int:
    """How many objects the generations that are left have in common."""
    keys = [
        ref.key
        for name in list_generations(store)
        for segment in load_manifest(store, name).segments
        for ref in segment.objects.values()
    ]
    return len(keys) - len(set(keys))


@pytest.mark.parametrize("how", HOWS)
def test_publish_of_what_gc_is_deleting(place: Place, how: How) -> None:
    """The retry comes while leases of the dead still stand: it is refused, or it is whole."""

    def after(faulty: FaultAt) -> None:
        store = faulty.inner
        with suppress(Conflict):
            publish(store, draft(10, 0), segments=FINE)
        faulty.arrive()
        assert sound(store)
        _leases_run_out(store)
        assert publish(store, draft(10, 0), segments=FINE).generation == place.oldest
        assert sound(store)

    at_every_write(place, how, lambda store: collect_garbage(store, Retention(keep=2)), after)
