"""What every Embedder promises, run on each of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.embedding import open_embedder
from llmrec_ray.embedding.cache import CachedEmbedder
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.ports import Embedder

TEXTS = ["a film about space travel", "a love story in Paris", "", "爱情喜剧", "x " * 5000]


def hashing(_: Path) -> Embedder:
    return HashingEmbedder()


def cached(folder: Path) -> Embedder:
    return CachedEmbedder(HashingEmbedder(), folder)


def minilm(folder: Path) -> Embedder:
    return open_embedder("all-MiniLM-L6-v2", cache=folder)


def openvino(_: Path) -> Embedder:
    return open_embedder("all-MiniLM-L6-v2", runtime="openvino")


def int8(_: Path) -> Embedder:
    return open_embedder("all-MiniLM-L6-v2", runtime="openvino-int8")


@pytest.fixture(scope="module", params=[hashing, cached, minilm, openvino, int8])
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Embedder]:
    folder = tmp_path_factory.mktemp("cache")
    return lambda: request.param(folder)


@pytest.fixture(scope="module")
def embedder(make: Callable[[], Embedder]) -> Embedder:
    return make()


@pytest.mark.parametrize("side", ["passages", "queries"])
def test_vectors_are_unit_float32_of_the_dimension_it_says(embedder: Embedder, side: str):
    vectors = getattr(embedder, side)(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.info.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_no_texts_give_no_vectors(embedder: Embedder):
    assert embedder.passages([]).shape == (0, embedder.info.dim)
    assert embedder.queries([]).shape == (0, embedder.info.dim)


def test_rows_follow_the_order_of_the_texts(embedder: Embedder):
    together = embedder.passages(TEXTS)
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_allclose(embedder.passages([text])[0], row, atol=1e-5)


def test_a_text_is_nearest_to_itself_and_near_to_its_kin(embedder: Embedder):
    query = embedder.queries(["space travel film"])[0]
    assert int(np.argmax(embedder.passages(TEXTS[:2]) @ query)) == 0


def test_the_same_encoder_has_the_same_info(make: Callable[[], Embedder], embedder: Embedder):
    assert make().info == embedder.info
