"""From texts to unit vectors: the encoder that the settings' values name, behind the cache."""

from functools import partial
from pathlib import Path

from llmrec_ray.embedding.cache import CachedEmbedder
from llmrec_ray.embedding.encoder import SentenceTransformerEmbedder
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.embedding.identity import HASHING
from llmrec_ray.embedding.openvino import OpenVinoEmbedder
from llmrec_ray.models import FOLDER, local_model
from llmrec_ray.ports import Embedder
from llmrec_ray.types import Runtime


def open_embedder(
    model: str,
    *,
    runtime: Runtime = "torch",
    query_prefix: str | None = None,
    passage_prefix: str | None = None,
    threads: int = 1,
    batch: int = 32,
    cache: Path | None = None,
    models: Path = FOLDER,
) -> Embedder:
    """Load an encoder; `hashing` names the one without a model, everything else a model reference.

    A prefix of None means the model's own. With a `cache` folder, passages go through it. Raises
    `InvalidSettings` where the model is not found, is no encoder, or does not suit the runtime.
    """
    if model == HASHING:
        return HashingEmbedder()
    chosen = (
        SentenceTransformerEmbedder
        if runtime == "torch"
        else partial(OpenVinoEmbedder, runtime=runtime, models=models)
    )
    encoder = chosen(
        local_model(model, folder=models),
        name=model,
        query_prefix=query_prefix,
        passage_prefix=passage_prefix,
        threads=threads,
        batch=batch,
    )
    return encoder if cache is None else CachedEmbedder(encoder, cache)
