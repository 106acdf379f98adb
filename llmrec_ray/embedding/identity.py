"""A model reference and prefixes in, the hash its encoder would have out, with no model loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmrec_ray.embedding.encoder import encoder_hash
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.models import FOLDER, PRESETS, local_model
from llmrec_ray.types import Runtime

HASHING = "hashing"
PROMPTS = "config_sentence_transformers.json"


def hash_without_loading(
    model: str,
    *,
    query_prefix: str | None,
    passage_prefix: str | None,
    runtime: Runtime = "torch",
    models: Path = FOLDER,
) -> str | None:
    """`EncoderInfo.hash`; None where the model's files are not on this machine yet.

    Raises `InvalidSettings` where the reference names nothing.
    """
    if model == HASHING:
        return HashingEmbedder().info.hash
    preset = PRESETS.get(model)
    if preset is not None and preset.convert is not None and not (models / model).is_dir():
        return None
    folder = Path(local_model(model, folder=models))
    if not folder.is_dir():  # a hub name
        return None
    own = prompts(folder)
    return encoder_hash(
        folder,
        own.get("query") or "" if query_prefix is None else query_prefix,
        own.get("document") or "" if passage_prefix is None else passage_prefix,
        runtime,
    )


def prompts(folder: Path) -> Mapping[str, str]:
    """The model's own prefixes, as sentence-transformers keeps them."""
    try:
        config: dict[str, Any] = json.loads((folder / PROMPTS).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return config.get("prompts") or {}
