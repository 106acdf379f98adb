"""One replica of the embedding pool: query texts in, encoded in batches, unit vectors out."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ray import serve

from llmrec_ray.ports import Embedder, EncoderInfo
from llmrec_ray.types import Float32s
from serve.observe.meters import meters
from serve.observe.metrics import EMBED_BATCH, EMBED_SECONDS, EMBED_TEXTS


class EmbedderReplica:
    """The deployment `embedder`."""

    def __init__(self, load: Callable[[], Embedder], batch: int, batch_wait_s: float) -> None:
        self._meters = meters()
        self._embedder = load()
        self._embedder.queries(["warm up"])
        batching: Any = self.embed  # `serve.batch` puts these setters on the method
        batching.set_max_batch_size(batch)
        batching.set_batch_wait_timeout_s(batch_wait_s)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def embed(self, texts: list[str]) -> list[Float32s]:
        """float32 [dim] for each text."""
        since = time.perf_counter()
        vectors = list(await asyncio.to_thread(self._embedder.queries, texts))
        self._meters.add(EMBED_TEXTS, len(texts))
        self._meters.observe(EMBED_BATCH, len(texts))
        self._meters.observe(EMBED_SECONDS, time.perf_counter() - since)
        return vectors

    async def info(self) -> EncoderInfo:
        return self._embedder.info

    async def check_health(self) -> None:
        """Encodes a word; a stuck model fails, one that is busy for a while does not."""
        async with asyncio.timeout(20):
            await asyncio.to_thread(self._embedder.queries, ["health"])
