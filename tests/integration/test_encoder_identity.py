"""The hash of an encoder that is not loaded is the hash it has when it is."""

from pathlib import Path

import pytest

from llmrec_ray.embedding import open_embedder
from llmrec_ray.embedding.identity import hash_without_loading

MODEL = "all-MiniLM-L6-v2"


@pytest.mark.parametrize("query_prefix", [None, "query: "])
def test_the_hash_is_the_loaded_encoders(query_prefix: str | None) -> None:
    loaded = open_embedder(MODEL, query_prefix=query_prefix).info.hash
    found = hash_without_loading(MODEL, query_prefix=query_prefix, passage_prefix=None)
    assert found == loaded


def test_a_models_own_prompts_count(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    plain = hash_without_loading(str(tmp_path), query_prefix=None, passage_prefix=None)
    prompts = '{"prompts": {"query": "query: ", "document": ""}}'
    (tmp_path / "config_sentence_transformers.json").write_text(prompts)
    own = hash_without_loading(str(tmp_path), query_prefix=None, passage_prefix=None)
    given = hash_without_loading(str(tmp_path), query_prefix="query: ", passage_prefix="")
    assert own == given != plain


def test_a_preset_that_is_not_prepared_yet_has_no_hash(tmp_path: Path) -> None:
    found = hash_without_loading(
        "multilingual-e5-small", query_prefix=None, passage_prefix=None, models=tmp_path
    )
    assert found is None
