"""Generations on every object store: published and activated in races, followed, collected."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from llmrec_ray.errors import Conflict, StoreUnavailable
from llmrec_ray.generation.activation import (
    activate,
    activate_next,
    current,
    history,
    rollback,
)
from llmrec_ray.generation.collection import collect_garbage
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, verify
from llmrec_ray.generation.retention import Retention
from llmrec_ray.ports import ObjectStore
from tests.contract.conftest import BUCKET
from tests.support.faults import Older
from tests.support.generations import draft
from tests.support.lossy import LossyProxy
from tests.support.seaweed import SeaweedServer

WEEK = timedelta(days=7)


def test_a_generation_goes_from_publish_to_a_follower(object_store: ObjectStore) -> None:
    follower = Follower(object_store)
    a, b = publish(object_store, draft(30, 0)), publish(object_store, draft(30, 1))
    assert follower.poll() is None
    activate(object_store, a.generation, "one")
    activate(object_store, b.generation, "two")
    assert follower.poll() == b
    rollback(object_store, "one")
    assert follower.poll() == a
    assert list_generations(object_store) == sorted([a.generation, b.generation])
    assert verify(object_store, a.generation) == []


def test_racing_publishers_of_equal_content_make_one_generation(object_store: ObjectStore) -> None:
    start = Barrier(4)

    def run(_: int) -> str:
        start.wait()
        return publish(object_store, draft(30)).model_dump_json()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(4)))) == 1


def test_racing_activations_get_a_number_each(object_store: ObjectStore) -> None:
    name = publish(object_store, draft(10)).generation
    start = Barrier(8)

    def run(writer: int) -> int:
        start.wait()
        return activate(object_store, name, f"writer-{writer}").number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(run, range(8)))
    assert sorted(numbers) == list(range(1, 9))
    assert [each.writer for each in history(object_store)] == [
        f"writer-{numbers.index(number)}" for number in range(1, 9)
    ]


def test_racing_publishers_win_a_number_each_with_whole_generations(
    object_store: ObjectStore,
) -> None:
    start = Barrier(4)

    def run(publisher: int) -> tuple[int, str]:
        start.wait()
        name = publish(object_store, draft(20, publisher % 2), segments=2).generation
        return activate(object_store, name, f"publisher-{publisher}").number, name

    with ThreadPoolExecutor(4) as pool:
        made = dict(pool.map(run, range(4)))
    assert sorted(made) == [1, 2, 3, 4]
    assert {one.number: one.generation for one in history(object_store)} == made
    newest = current(object_store)
    assert newest is not None
    assert newest.generation == made[4]
    assert list_generations(object_store) == sorted(set(made.values()))
    assert all(verify(object_store, name) == [] for name in made.values())


def test_of_publishers_that_go_on_from_the_same_generation_one_wins(
    object_store: ObjectStore,
) -> None:
    before = activate(object_store, publish(object_store, draft(20)).generation, "before")
    start = Barrier(4)

    def run(publisher: int) -> tuple[str, str]:
        """The generation, and why it did not win."""
        name = publish(object_store, draft(20, 1 + publisher), segments=2).generation
        start.wait()
        try:
            activate_next(object_store, name, f"publisher-{publisher}", before)
        except Conflict as lost:
            return name, str(lost)
        return name, ""

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    winners = [name for name, lost in done if not lost]
    assert sum("Run this again" in lost for _, lost in done) == 3
    newest = current(object_store)
    assert newest is not None
    assert [newest.generation] == winners
    assert len(history(object_store)) == 2
    assert verify(object_store, newest.generation) == []


def test_what_is_not_needed_is_collected(object_store: ObjectStore) -> None:
    names = [publish(object_store, draft(20, seed), segments=2).generation for seed in range(3)]
    for name in names:
        activate(object_store, name, "test")
    assert collect_garbage(object_store, Retention(keep=1)).deleted.sizes == {}
    collected = collect_garbage(Older(object_store, WEEK), Retention(keep=2))
    assert collected.deleted.generations == (names[0],)
    assert list_generations(object_store) == sorted(names[1:])
    assert all(verify(object_store, name) == [] for name in names[1:])
    assert rollback(object_store, "test").generation == names[1]


def test_publishers_and_collections_that_race_leave_whole_generations(
    object_store: ObjectStore,
) -> None:
    """Everyone needs what the others take: all drafts share most objects, all of them old."""
    for seed in range(3):
        publish(object_store, draft(20, seed), segments=2)
    start, older = Barrier(6), Older(object_store, WEEK)

    def run(worker: int) -> None:
        start.wait()
        for seed in range(3):
            try:
                if worker < 2:
                    collect_garbage(older, Retention(keep=1))
                else:
                    name = publish(object_store, draft(20, seed + worker), segments=2).generation
                    activate(object_store, name, f"publisher-{worker}")
            except Conflict:
                continue

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    names = list_generations(object_store)
    assert all(verify(object_store, name) == [] for name in names)
    if (newest := current(object_store)) is not None:
        assert newest.generation in names


# ── a network that fails ─────────────────────────────────────────────────────────────────────────


def _works(seed: int) -> dict[str, Callable[[ObjectStore], object]]:
    return {
        "publish": lambda store: publish(store, draft(6, seed), segments=1),
        "activate": lambda store: activate(store, history(store)[0].generation, "test"),
        "rollback": lambda store: rollback(store, "test"),
        "gc": lambda store: collect_garbage(Older(store, WEEK), Retention(keep=1)),
    }


@pytest.mark.parametrize("work", ["publish", "activate", "rollback", "gc"])
def test_any_single_reply_may_be_lost(s3_server: SeaweedServer, work: str) -> None:
    with LossyProxy(s3_server.endpoint) as proxy:
        for number in range(100):
            prefix = uuid.uuid4().hex
            plain = s3_server.store(BUCKET, prefix)
            names = [publish(plain, draft(6, seed), segments=1).generation for seed in range(3)]
            for name in names:
                activate(plain, name, "test")
            proxy.lose(1, after=number)
            _works(9)[work](s3_server.store(BUCKET, prefix, endpoint=proxy.endpoint))
            done = proxy.left_to_lose == 1  # there were no more replies than that
            proxy.lose(0)
            left = list_generations(plain)
            assert all(verify(plain, name) == [] for name in left)
            newest = current(plain)
            assert newest is not None
            assert (len(left), names.index(newest.generation), len(history(plain))) == {
                "publish": (4, 2, 3),
                "activate": (3, 0, 4),
                "rollback": (3, 1, 4),
                "gc": (1, 2, 3),
            }[work]
            if done:
                return
    raise AssertionError("the work never ends")


def test_a_store_that_answers_503_fails_the_publish_and_leaves_what_serves(
    s3_server: SeaweedServer,
) -> None:
    with LossyProxy(s3_server.endpoint) as proxy:
        store = s3_server.store(BUCKET, uuid.uuid4().hex, endpoint=proxy.endpoint)
        good = publish(store, draft(6), segments=1)
        activate(store, good.generation, "test")
        follower = Follower(store)
        assert follower.poll() == good
        proxy.busy = True
        for work in _works(9).values():
            with pytest.raises(StoreUnavailable, match="503"):
                work(store)
        with pytest.raises(StoreUnavailable, match="503"):
            follower.poll()
        assert follower.manifest == good
        proxy.busy = False
        assert follower.poll() == good
        made = publish(store, draft(6, 9), segments=1)
        activate(store, made.generation, "test")
        assert follower.poll() == made
