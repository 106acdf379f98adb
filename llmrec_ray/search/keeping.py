"""A shard's matrices and tables in; the same out, from where they are kept while it serves."""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import pyarrow as pa

from llmrec_ray.types import Float32s


class Keeping(Protocol):
    """Where a shard's rows lie: in memory, or in files that are mapped.

    What is kept already is not made again.
    """

    def matrix(self, name: str, count: int, parts: Iterable[Float32s]) -> Float32s:
        """The parts, one below the other: `count` rows in all."""
        ...

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """What `make` returns, in one chunk."""
        ...


class InMemory:
    """Keeps everything in memory."""

    def matrix(self, name: str, count: int, parts: Iterable[Float32s]) -> Float32s:  # noqa: ARG002
        joined, end = np.zeros((count, 0), np.float32), 0
        for part in parts:
            if not end:
                joined = np.empty((count, part.shape[1]), np.float32)
            joined[end : (end := end + len(part))] = part
        return joined

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:  # noqa: ARG002
        return make()
