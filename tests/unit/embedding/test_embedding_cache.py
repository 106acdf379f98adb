"""The cache: what reaches the model, what survives, and what a broken file says."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.embedding.cache import CachedEmbedder
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import Corrupt, InvalidSettings
from llmrec_ray.types import Float32s


class Counting(HashingEmbedder):
    """Remembers what it was asked."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim)
        self.asked: list[str] = []

    def passages(self, texts: Sequence[str]) -> Float32s:
        self.asked += texts
        return super().passages(texts)


def test_an_unchanged_text_is_never_embedded_twice(tmp_path: Path):
    first, second = Counting(), Counting()
    made = CachedEmbedder(first, tmp_path).passages(["one", "two", "one"])
    again = CachedEmbedder(second, tmp_path).passages(["two", "three", "one"])
    assert sorted(first.asked) == ["one", "two"]
    assert second.asked == ["three"]
    np.testing.assert_array_equal(again[[2, 0]], made[:2])


def test_a_cached_vector_is_the_vector_to_the_bit(tmp_path: Path):
    texts = [f"text number {i}" for i in range(3000)]
    plain = HashingEmbedder().passages(texts)
    cached = CachedEmbedder(HashingEmbedder(), tmp_path)
    np.testing.assert_array_equal(cached.passages(texts), plain)
    np.testing.assert_array_equal(cached.passages(texts), plain)


def test_another_encoder_does_not_read_these_vectors(tmp_path: Path):
    CachedEmbedder(Counting(64), tmp_path).passages(["one"])
    other = Counting(32)
    assert CachedEmbedder(other, tmp_path).passages(["one"]).shape == (1, 32)
    assert other.asked == ["one"]


def test_queries_leave_nothing_behind(tmp_path: Path):
    inner = Counting()
    cached = CachedEmbedder(inner, tmp_path)
    cached.queries(["a user's words"])
    inner.asked.clear()
    cached.passages(["a user's words"])
    assert inner.asked == ["a user's words"]


def test_a_broken_file_names_itself_and_the_remedy(tmp_path: Path):
    (tmp_path / f"{Counting().info.hash}.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt, match=r"hashing-1-64\.sqlite .*Delete the file"):
        CachedEmbedder(Counting(), tmp_path)


def test_a_folder_that_cannot_be_made_names_the_setting(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings, match=r"embedding\.cache"):
        CachedEmbedder(Counting(), tmp_path / "file" / "cache")


def embed(folder: Path, start: int) -> None:
    cached = CachedEmbedder(HashingEmbedder(), folder)
    for step in range(start, start + 200, 20):
        cached.passages([f"text {i}" for i in range(step, step + 40)])


def test_processes_share_one_folder(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=embed, args=(tmp_path, 50 * n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    inner = Counting()
    CachedEmbedder(inner, tmp_path).passages([f"text {i}" for i in range(320)])
    assert inner.asked == []
