"""From texts to unit vectors: the encoder that the settings' values name, behind the cache."""

from pathlib import Path

from llmrec_ray.embedding.cache import CachedEmbedder
from llmrec_ray.embedding.encoder import SentenceTransformerEmbedder
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.models import FOLDER, local_model
from llmrec_ray.ports import Embedder

HASHING = "hashing"


def open_embedder(
    model: str,
    *,
    query_prefix: str | None = None,
    passage_prefix: str | None = None,
    threads: int = 1,
    batch: int = 32,
    cache: Path | None = None,
    models: Path = FOLDER,
) -> Embedder:
    """Load an encoder; `hashing` names the one without a model, everything else a model reference.

    A prefix of None means the model's own. With a `cache` folder, passages go through it. Raises
    `InvalidSettings` where the model is not found or is no encoder.
    """
    if model == HASHING:
        return HashingEmbedder()
    encoder = SentenceTransformerEmbedder(
        local_model(model, folder=models),
        name=model,
        query_prefix=query_prefix,
        passage_prefix=passage_prefix,
        threads=threads,
        batch=batch,
    )
    return encoder if cache is None else CachedEmbedder(encoder, cache)
