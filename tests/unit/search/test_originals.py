"""Mapped vectors: the same answers as from memory, one file for all replicas, none left behind."""

from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.generation.publish import publish
from llmrec_ray.search.originals import Originals
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import NearQuery, Scope
from tests.support.generations import draft, unit_vectors

PARTS = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((1, 2), np.float32)]


def test_parts_are_mapped_as_one_matrix_that_cannot_be_written(tmp_path: Path) -> None:
    found = Originals(tmp_path / "new", "0-of-1-").mapped("g-text", PARTS)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, np.concatenate(PARTS))
    assert not found.flags.writeable


def test_a_second_replica_maps_the_file_of_the_first(tmp_path: Path) -> None:
    first = Originals(tmp_path, "0-of-1-").mapped("g-text", PARTS)
    inode = next(tmp_path.iterdir()).stat().st_ino
    second = Originals(tmp_path, "0-of-1-").mapped("g-text", PARTS)
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == [inode]
    assert np.array_equal(first, second)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no matrix at all"])
def test_a_file_that_was_cut_short_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    originals = Originals(tmp_path, "0-of-1-")
    originals.mapped("g-text", PARTS)
    (tmp_path / "0-of-1-g-text.npy").write_bytes(damage)
    assert np.array_equal(originals.mapped("g-text", PARTS), np.concatenate(PARTS))


def test_a_folder_that_cannot_be_written_says_which_setting_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"search\.originals"):
        Originals(tmp_path / "file", "0-of-1-").mapped("g-text", PARTS)


def test_matrices_without_rows_or_dimensions_need_no_file(tmp_path: Path) -> None:
    assert Originals(tmp_path, "").mapped("g", [np.zeros((3, 0), np.float32)]).shape == (3, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_answers_the_same_from_files_as_from_memory(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects")
    manifest = publish(store, draft(40))
    group = [Shard(store, 0, 1), Shard(store, 0, 1, originals=tmp_path / "originals")]
    asked = [NearQuery(unit_vectors(1, 7)[0].astype(np.float32), "cosine", Scope(10))]
    for shard in group:
        shard.prepare(manifest)
    memory, mapped = (shard.near(manifest.generation, asked) for shard in group)
    assert memory == mapped
    assert len(list((tmp_path / "originals").iterdir())) == 1  # this draft has no taste


def test_files_of_generations_that_are_no_longer_held_are_deleted(tmp_path: Path) -> None:
    store, folder = FolderStore(tmp_path / "objects"), tmp_path / "originals"
    other = Originals(folder, "1-of-2-")
    other.mapped("g-text", PARTS)
    shard = Shard(store, 0, 2, originals=folder)
    manifests = [publish(store, draft(40, seed)) for seed in range(4)]
    for manifest in manifests:
        shard.prepare(manifest)
    left = {path.name for path in folder.iterdir()}
    held = {f"0-of-2-{manifest.generation}-text.npy" for manifest in manifests[-2:]}
    assert left == held | {"1-of-2-g-text.npy"}


def test_a_file_that_a_faster_replica_wrote_is_left_alone(tmp_path: Path) -> None:
    slow, fast = Originals(tmp_path, "0-of-1-"), Originals(tmp_path, "0-of-1-")
    slow.mapped("old", PARTS)
    fast.mapped("new", PARTS)
    slow.forget(["old"])
    assert {path.stem for path in tmp_path.iterdir()} == {"0-of-1-old", "0-of-1-new"}
