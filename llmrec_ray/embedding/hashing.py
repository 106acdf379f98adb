"""From texts to unit vectors without a model: words and pieces of words, hashed."""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from llmrec_ray.ports import EncoderInfo
from llmrec_ray.types import Float32s

WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Texts that share words are near each other: enough to test and to try the service out."""

    def __init__(self, dim: int = 64) -> None:
        self._info = EncoderInfo(name="hashing", hash=f"hashing-1-{dim}", dim=dim)

    @property
    def info(self) -> EncoderInfo:
        return self._info

    def passages(self, texts: Sequence[str]) -> Float32s:
        vectors = np.zeros((len(texts), self._info.dim), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for token in _tokens(text):
                code = int.from_bytes(blake2b(token.encode(), digest_size=8).digest())
                vector[code % self._info.dim] += 1 if code >> 63 else -1
            if not vector.any():  # no word at all, or signs that cancel out
                vector[0] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def queries(self, texts: Sequence[str]) -> Float32s:
        return self.passages(texts)


def _tokens(text: str) -> Iterator[str]:
    for word in WORD.findall(text.lower()):
        yield word
        yield from (word[i : i + 2] for i in range(len(word) - 1))
