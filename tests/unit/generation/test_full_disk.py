"""A disk that is full while a generation is loaded: the last good one answers from its files."""

from pathlib import Path

import pytest

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.generation.publish import publish
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import NearQuery, Scope
from tests.support.full_disk import files_end_at
from tests.support.generations import draft, unit_vectors

ASKED = [NearQuery(unit_vectors(1, 7)[0].astype("float32"), "cosine", Scope(10))]
ROOM = 200  # bytes: the header of a matrix and some of its rows


def test_vectors_that_find_no_room_leave_the_last_good_generation_and_no_rest(
    tmp_path: Path,
) -> None:
    store, originals = FolderStore(tmp_path / "objects"), tmp_path / "originals"
    good, following = publish(store, draft(400)), publish(store, draft(400, 1))
    shard = Shard(store, 0, 1, originals=originals)
    shard.prepare(good)
    before, files = shard.near(good.generation, ASKED), set(originals.iterdir())
    for _ in range(3):
        with files_end_at(ROOM), pytest.raises(StoreUnavailable, match=r"Free the disk.*originals"):
            shard.prepare(following)
        assert shard.held == (good.generation,)
        assert shard.near(good.generation, ASKED) == before
        assert set(originals.iterdir()) == files
    shard.prepare(following)
    assert shard.held == (good.generation, following.generation)


def test_an_object_that_finds_no_room_is_not_there(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a", b"whole")
    with files_end_at(ROOM), pytest.raises(StoreUnavailable, match="free space"):
        store.create("b", b"x" * (ROOM + 1))
    assert store.list("") == ["a"]
    assert list((tmp_path / ".partial").iterdir()) == []
    assert store.create("b", b"x" * (ROOM + 1))
