"""Generations on every object store: published, activated by racing writers, followed, verified."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from llmrec_ray.generation.activation import activate, history, rollback
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, verify
from llmrec_ray.ports import ObjectStore
from tests.support.generations import draft


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
