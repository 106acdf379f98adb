"""Mapped vectors: the same answers as from memory, one file for all replicas, none left behind."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.generation.publish import publish
from llmrec_ray.search.originals import Originals
from llmrec_ray.shard import Shard
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import NearQuery, Scope, ScoreQuery, WeightedEvent
from tests.support.generations import draft, unit_vectors

PARTS = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((1, 2), np.float32)]


def test_parts_are_mapped_as_one_matrix_that_cannot_be_written(tmp_path: Path) -> None:
    found = Originals(tmp_path / "new", "0-of-1-").mapped("g-text", 4, PARTS)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, np.concatenate(PARTS))
    assert not found.flags.writeable


def test_a_second_replica_maps_the_file_of_the_first(tmp_path: Path) -> None:
    first = Originals(tmp_path, "0-of-1-").mapped("g-text", 4, PARTS)
    inode = next(tmp_path.iterdir()).stat().st_ino
    second = Originals(tmp_path, "0-of-1-").mapped("g-text", 4, PARTS)
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == [inode]
    assert np.array_equal(first, second)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no matrix at all"])
def test_a_file_that_was_cut_short_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    originals = Originals(tmp_path, "0-of-1-")
    originals.mapped("g-text", 4, PARTS)
    (tmp_path / "0-of-1-g-text.npy").write_bytes(damage)
    assert np.array_equal(originals.mapped("g-text", 4, PARTS), np.concatenate(PARTS))


def test_a_folder_that_cannot_be_written_says_which_setting_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"search\.originals"):
        Originals(tmp_path / "file", "0-of-1-").mapped("g-text", 4, PARTS)


def test_matrices_without_rows_or_dimensions_need_no_file(tmp_path: Path) -> None:
    assert Originals(tmp_path, "").mapped("g", 3, [np.zeros((3, 0), np.float32)]).shape == (3, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_made_once_and_mapped_by_every_replica(tmp_path: Path) -> None:
    table = pa.table({"item_id": ["a", "b"], "year": [1.0, None]})
    first = Originals(tmp_path, "0-of-1-").mapped_table("g-items", lambda: table)
    second = Originals(tmp_path, "0-of-1-").mapped_table("g-items", never)
    assert first.equals(table)
    assert second.equals(table)
    assert second.column("item_id").num_chunks == 1


@pytest.mark.parametrize("damage", [b"", b"ARROW1\0\0", b"no table at all"])
def test_a_table_that_was_cut_short_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    table = pa.table({"item_id": ["a", "b"]})
    originals = Originals(tmp_path, "0-of-1-")
    originals.mapped_table("g-items", lambda: table)
    (tmp_path / "0-of-1-g-items.arrow").write_bytes(damage)
    assert originals.mapped_table("g-items", lambda: table).equals(table)
    assert originals.mapped_table("g-items", never).equals(table)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-9] + bytes([whole[-9] ^ 0x40]) + whole[-8:],
        lambda whole: whole[:-3],
        lambda whole: bytes(len(whole)),
    ],
    ids=["flipped bit", "truncated", "zeros of the right length"],
)
@pytest.mark.parametrize("ending", ["npy", "arrow"])
def test_a_damaged_file_is_told_and_written_anew(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
    ending: str,
) -> None:
    table = pa.table({"item_id": ["a", "b"], "year": [1.0, None]})
    first = Originals(tmp_path, "0-of-1-")
    first.mapped("g-text", 4, PARTS)
    first.mapped_table("g-items", lambda: table)
    assert caplog.messages == []
    [path] = tmp_path.glob(f"*.{ending}")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    second = Originals(tmp_path, "0-of-1-")
    assert np.array_equal(second.mapped("g-text", 4, PARTS), np.concatenate(PARTS))
    assert second.mapped_table("g-items", lambda: table).equals(table)
    assert caplog.messages == ["original_damaged"]
    assert path.read_bytes() == whole


def test_a_shard_answers_from_the_store_where_a_bit_of_its_vectors_flipped(tmp_path: Path) -> None:
    store, folder = FolderStore(tmp_path / "objects"), tmp_path / "originals"
    manifest = publish(store, draft(40))
    asked = [NearQuery(unit_vectors(1, 7)[0].astype(np.float32), "cosine", Scope(10))]
    first = Shard(store, 0, 1, originals=folder)
    first.prepare(manifest)
    right = first.near(manifest.generation, asked)
    [path] = folder.glob("*-text.npy")
    whole = path.read_bytes()
    path.unlink()  # what the first replica has mapped stays as it is
    path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 0x40]) + whole[-9:])
    second = Shard(store, 0, 1, originals=folder)
    second.prepare(manifest)
    assert second.near(manifest.generation, asked) == right


def never() -> pa.Table:
    raise AssertionError("it is there already")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_shard_answers_the_same_from_files_as_from_memory(tmp_path: Path, shards: int) -> None:
    store = FolderStore(tmp_path / "objects")
    made = draft(60)
    manifest = publish(store, made)
    ids = texts(made.items, "item_id")
    events = [WeightedEvent(f"e{n}", one, "like", 1.0) for n, one in enumerate(ids[:9])]
    answers: list[list[object]] = [[], []]
    for given, folder in zip(answers, (None, tmp_path / "originals"), strict=True):
        for number in range(shards):
            shard = Shard(store, number, shards, originals=folder)
            shard.prepare(manifest)
            pulled = shard.gather(manifest.generation, events)
            scope = Scope(10, exclude=frozenset(ids[:3]))
            asked = ScoreQuery(tuple(events), pulled, 0.3, scope, with_parts=False)
            near = NearQuery(unit_vectors(1, 7)[0].astype(np.float32), "cosine", scope)
            given.append(pulled.tolist())
            given.append(shard.score(manifest.generation, [asked]))
            given.append(shard.near(manifest.generation, [near]))
            given.append(shard.lookup(manifest.generation, ids)[0])
    assert answers[0] == answers[1]
    kept = {path.name.rsplit("-", 1)[1] for path in (tmp_path / "originals").iterdir()}
    assert kept == {"text.npy", "items.arrow", "pairs.arrow", "sources.arrow"}  # it has no taste


def test_a_second_replica_reads_from_the_store_only_what_is_not_mapped(tmp_path: Path) -> None:
    store = Counting(tmp_path / "objects")
    manifest = publish(store, draft(40))
    for _ in range(2):
        store.got.clear()
        Shard(store, 0, 1, originals=tmp_path / "originals").prepare(manifest)
    assert store.got == {segment.objects["popularity"].key for segment in manifest.segments}


class Counting(FolderStore):
    """A folder that notes which objects were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.got: set[str] = set()

    def get(self, key: str) -> bytes:
        self.got.add(key)
        return super().get(key)


def test_files_of_generations_that_are_no_longer_held_are_deleted(tmp_path: Path) -> None:
    store, folder = FolderStore(tmp_path / "objects"), tmp_path / "originals"
    other = Originals(folder, "1-of-2-")
    other.mapped("g-text", 4, PARTS)
    shard = Shard(store, 0, 2, originals=folder)
    manifests = [publish(store, draft(40, seed)) for seed in range(4)]
    for manifest in manifests:
        shard.prepare(manifest)
    left = {path.name for path in folder.iterdir()}
    parts = ("text.npy", "items.arrow", "pairs.arrow", "sources.arrow")
    held = {f"0-of-2-{one.generation}-{part}" for one in manifests[-2:] for part in parts}
    assert left == held | {"1-of-2-g-text.npy"}


def test_a_file_that_a_faster_replica_wrote_is_left_alone(tmp_path: Path) -> None:
    slow, fast = Originals(tmp_path, "0-of-1-"), Originals(tmp_path, "0-of-1-")
    slow.mapped("old", 4, PARTS)
    fast.mapped("new", 4, PARTS)
    slow.forget(["old"])
    assert {path.stem for path in tmp_path.iterdir()} == {"0-of-1-old", "0-of-1-new"}


def test_files_of_another_number_of_shards_go_when_they_are_older(tmp_path: Path) -> None:
    before = [Originals(tmp_path, f"{shard}-of-2-") for shard in range(2)]
    mapped = [each.mapped("g-text", 4, PARTS) for each in before]
    older(tmp_path)
    after = Originals(tmp_path, "0-of-4-")
    after.mapped("g-text", 4, PARTS)
    after.forget(["g-text"])
    assert {path.name for path in tmp_path.iterdir()} == {"0-of-4-g-text.npy"}
    assert all(np.array_equal(each, np.concatenate(PARTS)) for each in mapped)
    older(tmp_path)
    before[0].mapped("g-text", 4, PARTS)  # of the old group, one starts again
    before[0].forget(["g-text"])
    assert {path.name for path in tmp_path.iterdir()} == {"0-of-2-g-text.npy"}
    assert np.array_equal(after.mapped("g-text", 4, PARTS), np.concatenate(PARTS))


def older(folder: Path) -> None:
    """Its files were last used an hour ago: two that are made at once may have one time."""
    for path in folder.iterdir():
        told = path.stat()
        os.utime(path, (told.st_atime, told.st_mtime - 3600))


def test_files_of_another_shard_of_the_same_number_and_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    Originals(tmp_path, "1-of-2-").mapped("g-text", 4, PARTS)
    older(tmp_path)
    mine = Originals(tmp_path, "0-of-2-")
    mine.mapped("g-text", 4, PARTS)
    mine.forget(["g-text"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt",
        "0-of-2-g-text.npy",
        "1-of-2-g-text.npy",
    }


def test_what_another_replica_is_writing_is_left_until_it_must_have_died(tmp_path: Path) -> None:
    partials = [tmp_path / f"0-of-{number}-x.part" for number in (1, 2)]
    for path in partials:
        path.touch()
    mine = Originals(tmp_path, "0-of-1-")
    mine.mapped("g-text", 4, PARTS)
    mine.forget(["g-text"])
    assert all(path.exists() for path in partials)
    for path in partials:
        os.utime(path, (0, 0))
    mine.forget(["g-text"])
    assert {path.name for path in tmp_path.iterdir()} == {"0-of-1-g-text.npy"}


def test_a_file_is_mapped_though_another_replica_deletes_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def taken(path: Path, target: Path) -> Path:
        replace(path, target).unlink()
        return target

    monkeypatch.setattr(Path, "replace", taken)
    originals = Originals(tmp_path, "0-of-1-")
    assert np.array_equal(originals.mapped("g-text", 4, PARTS), np.concatenate(PARTS))
    table = pa.table({"item_id": ["a"]})
    assert originals.mapped_table("g-items", lambda: table).equals(table)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append({p.suffix for p in tmp_path.iterdir()}))
    Originals(tmp_path, "0-of-1-").mapped("g-text", 4, PARTS)
    assert seen == [{".part"}, {".npy"}]
