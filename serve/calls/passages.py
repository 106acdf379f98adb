"""Texts of items in, unit vectors from the embedding pool out, a few texts a call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from llmrec_ray.errors import EmbedderUnavailable
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.types import Float32s

AT_ONCE = 16  # queries wait behind a call for as long as its texts take

NO_EMBEDDER = "the item's text cannot be embedded now, so nothing was stored; try again shortly."

Call = Callable[[Sequence[str]], Awaitable[tuple[Float32s, EncoderInfo]]]


class PoolPassages:
    """The `PassageEmbedder` port over the embedding pool; each call has the deadline."""

    def __init__(
        self, call: Call, *, deadline_s: float, runs: Callable[[], bool] = lambda: True
    ) -> None:
        self._call = call
        self._deadline_s = deadline_s
        self._runs = runs

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        if not self._runs():
            raise EmbedderUnavailable(NO_EMBEDDER)
        parts: list[Float32s] = []
        infos: set[EncoderInfo] = set()
        for start in range(0, len(texts), AT_ONCE):
            vectors, info = await self._some(texts[start : start + AT_ONCE])
            parts.append(vectors)
            infos.add(info)
        if len(infos) != 1:
            raise EmbedderUnavailable(f"embedders of different models run. {NO_EMBEDDER}")
        return np.concatenate(parts), infos.pop()

    async def _some(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._call(list(texts))
        except Exception as cause:
            raise EmbedderUnavailable(NO_EMBEDDER) from cause
