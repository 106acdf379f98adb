"""One replica of the embedding pool: query texts in, unit vectors out; and reviews, read.

Requests share a batch, bounded by its tokens: long texts do not hold up all that came with them.
"""

import asyncio
import time
from collections.abc import Callable

from llmrec_ray.embedding.sentiment import Sentiment
from llmrec_ray.ports import Embedder, EncoderInfo
from llmrec_ray.settings import TEXT_TOKENS
from llmrec_ray.types import Float32s, Reading
from serve.calls.batching import Batcher
from serve.observe.meters import meters
from serve.observe.metrics import EMBED_BATCH, EMBED_SECONDS, EMBED_TEXTS

LEAST_TOKENS = 32  # what the shortest text costs: 32 of them fill the default budget


def cost(text: str) -> int:
    """About the tokens of a text: three bytes each, which a Chinese character has.

    What is longer than an encoder reads costs no more than what is read.
    """
    return min(max(len(text.encode(errors="replace")) // 3, LEAST_TOKENS), TEXT_TOKENS)


class EmbedderReplica:
    """The deployment `embedder`."""

    def __init__(
        self, load: Callable[[], Embedder], batch_tokens: int, batch_wait_s: float
    ) -> None:
        self._meters = meters()
        self._embedder = load()
        self._sentiment = Sentiment(self._embedder)  # its sentences warm the model up
        self._batched = Batcher(self._encode, cost=cost, budget=batch_tokens, wait_s=batch_wait_s)

    async def embed(self, text: str) -> Float32s:
        """float32 [dim]."""
        return await self._batched(text)

    async def read(self, text: str) -> Reading:
        """A review's text: its vector, made in a batch with queries, and how it was meant."""
        return self._sentiment.reading(await self._batched(text))

    async def passages(self, texts: list[str]) -> tuple[Float32s, EncoderInfo]:
        """float32 [texts, dim] for the texts of items, and what made them."""
        vectors = await asyncio.to_thread(self._embedder.passages, texts)
        return vectors, self._embedder.info

    async def _encode(self, texts: list[str]) -> list[Float32s]:
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
