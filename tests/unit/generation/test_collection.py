"""Collecting: what is needed stays, what is not goes, and nobody who works beside it is harmed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llmrec_ray.errors import Conflict, Corrupt, GenerationNotFound, InvalidInput, StoreUnavailable
from llmrec_ray.generation.activation import activate, activation_key, current, rollback
from llmrec_ray.generation.collection import collect_garbage, find_garbage
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.leases import LASTS, LEASES, collecting, renew, writing
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, manifest_key, verify
from llmrec_ray.generation.retention import Retention
from llmrec_ray.ports import ObjectStore, Stat
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from tests.support.faults import FaultAt, pass_time
from tests.support.generations import FaultyStore, draft

ONE = Retention(keep=1)
DAYS = timedelta(days=2)


def published(store: ObjectStore, count: int, *, first: int = 0) -> list[str]:
    return [publish(store, draft(10, seed)).generation for seed in range(first, first + count)]


def activated(store: ObjectStore, *names: str) -> None:
    for name in names:
        activate(store, name, "test")


def sound(store: ObjectStore) -> bool:
    """Every published generation has all its objects, and the current one is among them."""
    newest, names = current(store), list_generations(store)
    assert newest is None or newest.generation in names
    return all(verify(store, name) == [] for name in names)


def unnamed(store: ObjectStore) -> set[str]:
    """Objects that no manifest names."""
    named: set[str] = set()
    for name in list_generations(store):
        named |= {
            key for key in store.list("objects/") if key in store.get(manifest_key(name)).decode()
        }
    return set(store.list("objects/")) - named


# ── what stays ───────────────────────────────────────────────────────────────────────────────────


def test_an_empty_store_has_nothing_to_collect(store: FolderStore) -> None:
    assert collect_garbage(store, ONE).deleted.sizes == {}


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_the_generations_that_were_current_last_stay(
    store: FolderStore, folder: Path, keep: int
) -> None:
    names = published(store, 5)
    activated(store, *names, names[0])  # the oldest came back last
    pass_time(folder, DAYS)
    collect_garbage(store, Retention(keep))
    assert list_generations(store) == sorted({names[0], *names[::-1][: keep - 1]})
    assert sound(store)
    assert not unnamed(store)


def test_what_was_current_within_the_grace_period_stays(store: FolderStore, folder: Path) -> None:
    a, b, c = published(store, 3)
    activated(store, a, b)
    pass_time(folder, DAYS)
    activated(store, c)  # until now it was b
    collect_garbage(store, ONE)
    assert list_generations(store) == sorted([b, c])


def test_what_was_published_within_the_grace_period_stays(store: FolderStore, folder: Path) -> None:
    a, b = published(store, 2)
    activated(store, a)
    pass_time(folder, DAYS)
    (c,) = published(store, 1, first=2)
    collect_garbage(store, ONE)
    assert b not in list_generations(store)
    assert list_generations(store) == sorted([a, c])


def test_objects_that_a_remaining_generation_names_stay(store: FolderStore, folder: Path) -> None:
    made = draft(10)
    old = publish(store, made)
    new = publish(store, replace(made, events=121))  # the same objects under another manifest
    activated(store, new.generation)
    pass_time(folder, DAYS)
    collected = collect_garbage(store, ONE)
    assert collected.deleted.generations == (old.generation,)
    assert collected.deleted.objects == 0
    assert verify(store, new.generation) == []


def test_what_a_cut_publish_left_stays_for_the_grace_period_and_then_goes(
    faulty: FaultyStore, folder: Path
) -> None:
    activated(faulty, *published(faulty, 1))
    faulty.fails_before = lambda key: key.startswith("generations/")
    with pytest.raises(StoreUnavailable):
        publish(faulty, draft(10, 1))
    faulty.fails_before = lambda _: False
    left = unnamed(faulty)
    assert left
    pass_time(folder, LASTS * 2)
    assert collect_garbage(faulty, ONE).deleted.sizes == {}
    pass_time(folder, DAYS)
    assert set(collect_garbage(faulty, ONE).deleted.sizes) == left
    assert sound(faulty)


def test_exports_activations_and_strange_objects_are_not_its_business(
    store: FolderStore, folder: Path
) -> None:
    activated(store, *published(store, 3))
    for key in ("exports/may/00000-ab.parquet", "notes.txt", "generations/readme.txt"):
        store.create(key, b"x")
    before = {key for key in store.list("") if not key.startswith(("objects/", "generations/g-"))}
    pass_time(folder, DAYS)
    collect_garbage(store, ONE)
    assert before <= set(store.list(""))


def test_nothing_is_deleted_while_nothing_is_active_but_old_publishes(
    store: FolderStore, folder: Path
) -> None:
    published(store, 2)
    pass_time(folder, DAYS)
    assert collect_garbage(store, ONE).deleted.generations
    assert list_generations(store) == []
    assert store.list("objects/") == []


def test_a_second_collection_finds_nothing(store: FolderStore, folder: Path) -> None:
    activated(store, *published(store, 3))
    pass_time(folder, DAYS)
    first = collect_garbage(store, ONE)
    assert first.deleted.objects > 0
    assert first.deleted.bytes > 0
    assert first.left == 0
    before = store.list("")
    assert collect_garbage(store, ONE).deleted.sizes == {}
    assert store.list("") == before


def test_looking_changes_nothing(store: FolderStore, folder: Path) -> None:
    activated(store, *published(store, 3))
    pass_time(folder, DAYS)
    before = store.list("")
    found = find_garbage(store, ONE)
    assert store.list("") == before
    assert collect_garbage(store, ONE).deleted == found


def test_a_clock_that_went_back_makes_nothing_old(store: FolderStore, folder: Path) -> None:
    activated(store, *published(store, 3))
    pass_time(folder, -DAYS)  # all was written in what is the future now
    assert collect_garbage(store, ONE).deleted.sizes == {}


def test_a_lease_from_before_the_clock_went_back_still_guards_what_its_writer_needs(
    store: FolderStore, folder: Path
) -> None:
    activated(store, *published(store, 3))
    pass_time(folder, DAYS)
    store.create(f"{LEASES}/writer-of-tomorrow.json", b"{}")
    pass_time(folder, -timedelta(days=1), LEASES)
    before = store.list("")
    with pytest.raises(Conflict, match="Nothing was deleted"):
        collect_garbage(store, ONE)
    assert [key for key in store.list("") if not key.startswith(LEASES)] == [
        key for key in before if not key.startswith(LEASES)
    ]


def test_the_current_generation_cannot_be_given_up(store: FolderStore) -> None:
    with pytest.raises(InvalidInput, match="keep 1 or more"):
        find_garbage(store, Retention(keep=0))


@pytest.mark.parametrize("damaged", ["manifest", "newer format", "activation"])
def test_what_cannot_be_read_might_name_anything_so_nothing_goes(
    store: FolderStore, folder: Path, damaged: str
) -> None:
    names = published(store, 3)
    activated(store, *names)
    pass_time(folder, DAYS)
    key = activation_key(3) if damaged == "activation" else manifest_key(names[2])
    text = '{"format": 99}' if damaged == "newer format" else "{"
    (folder / key).write_text(text)
    before = store.list("")
    with pytest.raises(Corrupt, match=key):
        collect_garbage(store, ONE)
    assert store.list("") == before


# ── who works beside it ──────────────────────────────────────────────────────────────────────────


class Meanwhile(FaultyStore):
    """Something happens in the store just before a call of a collection, once."""

    def before(self, key: str, happens: Callable[[], object]) -> None:
        self._key, self._happens = key, happens

    def list(self, prefix: str) -> list[str]:
        self._meet(f"list {prefix}")
        return super().list(prefix)

    def create(self, key: str, data: bytes) -> bool:
        self._meet(f"create {key}")
        return super().create(key, data)

    def stats(self, prefix: str) -> dict[str, Stat]:
        self._meet(f"stats {prefix}")
        return super().stats(prefix)

    def delete(self, key: str) -> None:
        self._meet(f"delete {key}")
        super().delete(key)

    def _meet(self, call: str) -> None:
        if call.startswith(self._key):
            happens, self._key = self._happens, "never"
            happens()


@pytest.fixture
def old(store: FolderStore, folder: Path) -> list[str]:
    """Three old generations, of which the last is current."""
    names = published(store, 3)
    activated(store, *names)
    pass_time(folder, DAYS)
    return names


@pytest.mark.parametrize(
    "moment",
    ["list generations/", "stats objects/", "create leases/collection-", "stats leases/"],
)
@pytest.mark.parametrize("how", ["publish", "activate"])
def test_what_comes_into_use_before_the_deleting_stays(
    store: FolderStore, old: list[str], moment: str, how: str
) -> None:
    meanwhile = Meanwhile(store)

    def use() -> None:
        if how == "publish":  # takes over the objects of the oldest
            publish(store, replace(draft(10, 0), events=7))
        else:
            activate(store, old[0], "beside")

    meanwhile.before(moment, use)
    try:
        collect_garbage(meanwhile, ONE)
    except Conflict:
        assert moment == "stats leases/"
    assert sound(store)


@pytest.mark.parametrize("how", ["publish", "take over", "activate"])
@pytest.mark.parametrize("moment", ["delete generations/", "delete objects/"])
def test_what_is_being_deleted_is_refused(
    store: FolderStore, folder: Path, old: list[str], how: str, moment: str
) -> None:
    meanwhile = Meanwhile(store)
    refused: list[Exception] = []
    uses: dict[str, Callable[[], object]] = {
        "publish": lambda: publish(store, draft(10, 0)),
        "take over": lambda: publish(store, replace(draft(10, 0), events=7)),
        "activate": lambda: activate(store, old[0], "beside"),
    }

    def use() -> None:
        with pytest.raises((Conflict, GenerationNotFound)) as caught:
            uses[how]()
        refused.append(caught.value)

    meanwhile.before(moment, use)
    collect_garbage(meanwhile, ONE)
    assert len(refused) == 1
    assert sound(store)
    assert list_generations(store) == [old[2]]
    if how != "activate":
        pass_time(folder, LASTS * 2, LEASES)
        uses[how]()
        assert sound(store)


def test_what_is_not_being_deleted_can_be_used_meanwhile(
    store: FolderStore, old: list[str]
) -> None:
    meanwhile = Meanwhile(store)

    def use() -> None:
        activate(store, publish(store, draft(12, 5)).generation, "beside")
        assert rollback(store, "beside").generation == old[2]

    meanwhile.before("delete generations/", use)
    assert collect_garbage(meanwhile, ONE).deleted.generations == tuple(sorted(old[:2]))
    assert sound(store)
    assert rollback(store, "me").generation in list_generations(store)


def test_nothing_is_deleted_while_a_publish_is_under_way(
    store: FolderStore, old: list[str]
) -> None:
    before = set(store.list("objects/"))
    with writing(store), pytest.raises(Conflict, match=r"under way since .*Nothing was deleted"):
        collect_garbage(store, ONE)
    assert set(store.list("objects/")) == before
    assert store.list(f"{LEASES}/") == []
    collect_garbage(store, ONE)
    assert list_generations(store) == [old[2]]


def test_a_lease_that_was_left_behind_runs_out_and_is_removed(
    store: FolderStore, folder: Path, old: list[str]
) -> None:
    with pytest.raises(StoreUnavailable), writing(store):
        raise StoreUnavailable("down")
    assert len(store.list(f"{LEASES}/")) == 1, "its last request may still come"
    with pytest.raises(Conflict):
        collect_garbage(store, ONE)
    pass_time(folder, LASTS * 3, LEASES)
    collect_garbage(store, ONE)
    assert list_generations(store) == [old[2]]
    (left,) = store.list(f"{LEASES}/")
    assert left.startswith(f"{LEASES}/collection-"), "its last request may still come too"


def test_the_lease_of_a_collection_that_died_runs_out(store: FolderStore, folder: Path) -> None:
    manifest = publish(store, draft(10))
    ref = manifest.segments[0].objects["items"]
    with pytest.raises(StoreUnavailable), collecting(store, [ref.key]):
        raise StoreUnavailable("down")
    with pytest.raises(Conflict, match=ref.key):
        publish(store, replace(draft(10), events=7))
    pass_time(folder, LASTS * 2, LEASES)
    assert verify(store, publish(store, replace(draft(10), events=7)).generation) == []


def test_a_lease_that_cannot_be_read_is_named(store: FolderStore) -> None:
    activated(store, *published(store, 1))
    store.create(f"{LEASES}/collection-0.json", b"{")
    with pytest.raises(Corrupt, match=f"{LEASES}/collection-0.json cannot be read.*delete"):
        publish(store, draft(10, 1))


def test_a_store_that_does_not_list_what_was_written_is_refused(store: FolderStore) -> None:
    class Late(FaultyStore):
        def stats(self, prefix: str) -> dict[str, Stat]:
            return {key: stat for key, stat in super().stats(prefix).items() if key == "never"}

    with pytest.raises(StoreUnavailable, match="does not list"):
        publish(Late(store), draft(10))


class Clock:
    """Seconds that stand until they are moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_long_publish_renews_its_lease(store: FolderStore, folder: Path) -> None:
    clock = Clock()
    with writing(store, clock) as lease:
        first = lease.key
        renew(store, lease)
        assert lease.key == first
        pass_time(folder, LASTS * 2, LEASES)
        clock.now = LASTS.total_seconds() * 0.9
        renew(store, lease)
        assert store.list(f"{LEASES}/") == [lease.key] != [first]
        with pytest.raises(Conflict), collecting(store, []):
            pass
    assert store.list(f"{LEASES}/") == []


def test_a_publish_that_stood_still_too_long_is_refused(store: FolderStore) -> None:
    clock = Clock()
    with writing(store, clock) as lease:
        clock.now = LASTS.total_seconds()
        with pytest.raises(Conflict, match="stood still"):
            renew(store, lease)


@pytest.mark.usefixtures("old")
def test_a_collection_stops_long_before_its_lease_runs_out(store: FolderStore) -> None:
    clock = Clock()
    late = Meanwhile(store)
    late.before("delete objects/", lambda: setattr(clock, "now", LASTS.total_seconds() * 0.6))
    found = find_garbage(store, ONE)
    collected = collect_garbage(late, ONE, clock)
    assert collected.deleted.objects == 1
    assert collected.left == len(found.sizes) - len(collected.deleted.sizes) > 0
    assert sound(store)
    collect_garbage(store, ONE)
    assert not unnamed(store)


def test_two_collections_at_once_delete_what_one_would(store: FolderStore, old: list[str]) -> None:
    meanwhile = Meanwhile(store)
    meanwhile.before("delete objects/", lambda: collect_garbage(store, Retention(keep=2)))
    collect_garbage(meanwhile, ONE)
    assert list_generations(store) == [old[2]]
    assert sound(store)
    assert not unnamed(store)


def test_a_reader_that_holds_a_collected_generation_goes_on(
    store: FolderStore, folder: Path
) -> None:
    a, b = published(store, 2)
    activated(store, a)
    follower, shard = Follower(store), Shard(store, 0, 1)
    manifest = follower.poll()
    assert manifest is not None
    shard.prepare(manifest)
    activated(store, b)
    pass_time(folder, DAYS)
    collect_garbage(store, ONE)
    assert a not in list_generations(store)
    assert shard.lookup(a, ["f1"])[0]["f1"].title == "Film f1"
    manifest = follower.poll()
    assert manifest is not None
    shard.prepare(manifest)
    assert shard.held == (a, b)


def test_rollback_survives_every_collection_that_keeps_two(
    store: FolderStore, folder: Path
) -> None:
    activated(store, *(names := published(store, 4)))
    pass_time(folder, DAYS)
    collect_garbage(store, Retention(keep=2))
    assert rollback(store, "me").generation == names[2]
    pass_time(folder, DAYS)
    collect_garbage(store, Retention(keep=2))
    assert rollback(store, "me").generation == names[3]
    assert sound(store)


@pytest.mark.usefixtures("old")
def test_a_delete_that_comes_late_hits_nothing_that_was_published_since(
    store: FolderStore, folder: Path
) -> None:
    first = next(n for n in range(9) if "objects/" in _victim(store, n))
    late = FaultAt(store, at=first, how="late")
    with pytest.raises(StoreUnavailable):
        collect_garbage(late, ONE)
    for seed in (0, 1):  # one of them needs the object
        with suppress(Conflict):
            publish(store, draft(10, seed))
    late.arrive()
    assert sound(store)
    pass_time(folder, LASTS * 2, LEASES)
    published(store, 2)
    assert sound(store)


def _victim(store: FolderStore, number: int) -> str:
    """What the change of that number of a collection deletes; its first is the lease."""
    found = list(find_garbage(store, ONE).sizes)
    return found[number - 1] if number else ""
