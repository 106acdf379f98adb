"""Pinned: a caller moves on only when every shard can answer."""

from collections.abc import Sequence

import pytest

from llmrec_ray.errors import NotReady
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.generation.publish import publish
from llmrec_ray.storage.local import FolderStore
from tests.support.generations import draft


@pytest.fixture
def manifests(store: FolderStore) -> tuple[Manifest, Manifest, Manifest]:
    a, b, c = (publish(store, draft(10, seed)) for seed in range(3))
    return a, b, c


def held(*shards: Sequence[Manifest] | None) -> list[frozenset[str] | None]:
    return [
        None if names is None else frozenset(manifest.generation for manifest in names)
        for names in shards
    ]


def test_nothing_is_served_before_a_generation_is_offered() -> None:
    with pytest.raises(NotReady, match="llmrec generations activate"):
        Pinned().current()


def test_a_generation_that_every_shard_holds_is_served(
    manifests: tuple[Manifest, ...],
) -> None:
    a, *_ = manifests
    pinned = Pinned()
    assert pinned.offer(a, held([a], [a]))
    assert pinned.current() == a
    assert pinned.previous() is None
    assert pinned.waiting is None


def test_the_first_generation_waits_for_every_shard_and_says_for_which(
    manifests: tuple[Manifest, ...],
) -> None:
    a, *_ = manifests
    pinned = Pinned()
    assert not pinned.offer(a, held([a], [], None))
    with pytest.raises(NotReady, match=rf"shards 1 still load {a.generation} and shards 2 have"):
        pinned.current()


def test_no_shards_hold_nothing(manifests: tuple[Manifest, ...]) -> None:
    pinned = Pinned()
    assert not pinned.offer(manifests[0], [])
    with pytest.raises(NotReady, match="no shard"):
        pinned.current()


@pytest.mark.parametrize("late", [(), None], ids=["loading", "silent"])
def test_the_old_generation_is_served_while_a_shard_is_late(
    manifests: tuple[Manifest, ...], late: Sequence[Manifest] | None
) -> None:
    a, b, _ = manifests
    pinned = Pinned()
    pinned.offer(a, held([a], [a]))
    assert not pinned.offer(b, held([a, b], late))
    assert pinned.current() == a
    assert pinned.waiting is not None
    assert pinned.offer(b, held([a, b], [a, b]))
    assert (pinned.current(), pinned.previous()) == (b, a)


def test_at_most_two_generations_are_known(manifests: tuple[Manifest, ...]) -> None:
    pinned = Pinned()
    for manifest in manifests:
        pinned.offer(manifest, held([manifest]))
    assert (pinned.current(), pinned.previous()) == (manifests[2], manifests[1])


def test_a_rollback_swaps_current_and_previous(manifests: tuple[Manifest, ...]) -> None:
    a, b, _ = manifests
    pinned = Pinned()
    for manifest in (a, b, a):
        pinned.offer(manifest, held([a, b]))
    assert (pinned.current(), pinned.previous()) == (a, b)


def test_the_current_generation_stays_when_a_shard_is_lost(
    manifests: tuple[Manifest, ...],
) -> None:
    a, *_ = manifests
    pinned = Pinned()
    pinned.offer(a, held([a], [a]))
    assert pinned.offer(a, held([a], None))
    assert pinned.current() == a
