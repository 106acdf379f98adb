"""OpenVINO beside torch: near vectors, whose identity, and which models it refuses."""

from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.embedding import open_embedder
from llmrec_ray.embedding.identity import hash_without_loading
from llmrec_ray.embedding.openvino import NEAREST
from llmrec_ray.errors import InvalidInput, InvalidSettings
from llmrec_ray.ports import Embedder
from llmrec_ray.types import Float32s, Runtime

MINILM = "all-MiniLM-L6-v2"
TEXTS = [
    "A documentary about the deep sea.",
    "HEAT (1995), directed by Michael Mann — crime",
    "流浪地球：太阳即将毁灭",
    "",
    "one word after another " * 300,
]


def cosines(one: Float32s, other: Float32s) -> np.ndarray:
    return np.sum(one * other, axis=1)


@pytest.fixture(scope="module")
def torch() -> Embedder:
    return open_embedder(MINILM)


@pytest.fixture(scope="module")
def fast() -> Embedder:
    return open_embedder(MINILM, runtime="openvino")


@pytest.fixture(scope="module")
def int8() -> Embedder:
    return open_embedder(MINILM, runtime="openvino-int8")


def test_openvino_gives_the_vectors_of_torch(torch: Embedder, fast: Embedder):
    assert np.min(cosines(fast.passages(TEXTS), torch.passages(TEXTS))) >= 0.9999


def test_openvino_has_the_identity_of_torch(torch: Embedder, fast: Embedder):
    assert fast.info == torch.info


def test_int8_is_near_torch_and_another_encoder(torch: Embedder, int8: Embedder):
    near = cosines(int8.passages(TEXTS), torch.passages(TEXTS))
    assert 0.98 <= np.min(near) < 0.9999
    assert int8.info.hash != torch.info.hash
    assert int8.info.dim == torch.info.dim


@pytest.mark.parametrize("runtime", ["torch", "openvino", "openvino-int8"])
def test_the_hash_without_loading_is_the_loaded_encoders(
    request: pytest.FixtureRequest, runtime: Runtime
):
    name = {"torch": "torch", "openvino": "fast", "openvino-int8": "int8"}[runtime]
    loaded: Embedder = request.getfixturevalue(name)
    found = hash_without_loading(MINILM, query_prefix=None, passage_prefix=None, runtime=runtime)
    assert found == loaded.info.hash


def test_half_a_surrogate_pair_is_invalid_input(fast: Embedder):
    with pytest.raises(InvalidInput, match="surrogate"):
        fast.queries(["fine", "broken \ud83d"])


def test_prefixes_are_put_before_the_texts(fast: Embedder):
    prefixed = open_embedder(MINILM, runtime="openvino", query_prefix="query: ")
    np.testing.assert_array_equal(prefixed.queries(["film"]), fast.queries(["query: film"]))
    assert prefixed.info.hash != fast.info.hash


@pytest.mark.long
@pytest.mark.timeout(600)  # two conversions of a vocabulary of 250,000
@pytest.mark.parametrize(("runtime", "least"), [("openvino", 0.9999), ("openvino-int8", 0.98)])
def test_the_multilingual_preset_runs_on_it_too(runtime: Runtime, least: float):
    model = "multilingual-e5-small"
    made, expected = open_embedder(model, runtime=runtime), open_embedder(model)
    assert np.min(cosines(made.passages(TEXTS), expected.passages(TEXTS))) >= least
    assert np.min(cosines(made.queries(TEXTS), expected.queries(TEXTS))) >= least


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(InvalidSettings, match=f"cannot load the embedding model {tmp_path}"):
        open_embedder(str(tmp_path), runtime="openvino", models=tmp_path / "models")


def test_a_model_that_openvino_runs_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(NEAREST, "openvino", 1.1)
    with pytest.raises(InvalidSettings, match=r"other vectors.*embedding\.runtime to torch"):
        open_embedder(MINILM, runtime="openvino", models=tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
