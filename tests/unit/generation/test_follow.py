"""Following: what is current, at the price of one read, through failures."""

import pytest

from llmrec_ray.errors import Corrupt, GenerationNotFound, StoreUnavailable
from llmrec_ray.generation.activation import activate, rollback
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import manifest_key
from tests.support.generations import FaultyStore, draft


def test_nothing_activated_is_nothing_found(faulty: FaultyStore) -> None:
    publish(faulty, draft())
    assert Follower(faulty).poll() is None


def test_what_is_activated_is_found_by_itself(faulty: FaultyStore) -> None:
    a, b = publish(faulty, draft(10, 0)), publish(faulty, draft(10, 1))
    follower = Follower(faulty)
    seen = [follower.poll()]
    activate(faulty, a.generation, "me")
    seen += [follower.poll(), follower.poll()]
    activate(faulty, b.generation, "me")
    seen.append(follower.poll())
    rollback(faulty, "me")
    seen.append(follower.poll())
    assert seen == [None, a, a, b, a]


def test_a_poll_that_finds_nothing_new_reads_one_object(faulty: FaultyStore) -> None:
    activate(faulty, publish(faulty, draft()).generation, "me")
    follower = Follower(faulty)
    follower.poll()
    faulty.reads.clear()
    follower.poll()
    assert faulty.reads == ["activations/00000002.json"]


def test_the_last_manifest_stays_while_the_store_is_down(faulty: FaultyStore) -> None:
    a = publish(faulty, draft())
    activate(faulty, a.generation, "me")
    follower = Follower(faulty)
    follower.poll()
    faulty.down = True
    with pytest.raises(StoreUnavailable):
        follower.poll()
    assert follower.manifest == a
    faulty.down = False
    assert follower.poll() == a


def test_a_manifest_that_cannot_be_read_is_looked_for_again(faulty: FaultyStore) -> None:
    a, b = publish(faulty, draft(10, 0)), publish(faulty, draft(10, 1))
    activate(faulty, a.generation, "me")
    follower = Follower(faulty)
    follower.poll()
    activate(faulty, b.generation, "me")
    data = faulty.get(manifest_key(b.generation))
    faulty.delete(manifest_key(b.generation))
    with pytest.raises(GenerationNotFound):
        follower.poll()
    faulty.create(manifest_key(b.generation), data[:-9])
    with pytest.raises(Corrupt):
        follower.poll()
    assert follower.manifest == a
    faulty.delete(manifest_key(b.generation))
    faulty.create(manifest_key(b.generation), data)
    assert follower.poll() == b
