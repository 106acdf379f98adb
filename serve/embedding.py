"""Texts in, unit vectors out, on a Ray cluster: an encoder in actors of Ray Data."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from llmrec_ray.errors import Unavailable
from llmrec_ray.ports import Embedder, EncoderInfo
from llmrec_ray.text_vectors import Chunk, Embed, Pool
from llmrec_ray.types import Float32s, Ints

CPU_WAIT_S = 10.0
PLACE, TEXT, VECTOR = "place", "text", "vector"
Load = Callable[[], Embedder]


class Late:
    """Texts to vectors by an encoder that is loaded where it is first asked: in an actor."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._embedder: Embedder | None = None

    def __call__(self, texts: Sequence[str]) -> Float32s:
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder.passages(texts)


class Encode:
    """One actor of the pool: batches of texts to batches of vectors."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {PLACE: batch[PLACE], VECTOR: self._embed([str(text) for text in batch[TEXT]])}


class NoFreeCPU(Unavailable):
    """The cluster has no CPU left for ingestion."""


def require_cpus(count: int, wait_s: float = CPU_WAIT_S) -> None:
    """Return once `count` logical CPUs are free: Ray Data waits for ever, in silence."""
    end = time.monotonic() + wait_s
    while (free := ray.available_resources().get("CPU", 0.0)) < count:
        if time.monotonic() >= end:
            total = ray.cluster_resources().get("CPU", 0.0)
            raise NoFreeCPU(
                f"ingestion needs {count} free logical CPU(s), and {free:g} of the cluster's"
                f" {total:g} are free. Give Serve's replicas fewer (num_cpus: 0 in serve/config on"
                " a small machine), add a node, or lower embedding.workers."
            )
        time.sleep(0.2)


def encoder_info(load: Load) -> EncoderInfo:
    """Which model the workers would use, asked of one of them."""

    def ask() -> EncoderInfo:
        return load().info

    return ray.get(ray.remote(num_cpus=1)(ask).remote())


def on_ray(workers: int) -> Pool:
    """A pool of so many actors; texts lie in Ray's object store, and vectors come as they are made.

    An actor that dies is started again, and what it had in hand is encoded again.
    """

    def pool(embed: Embed, chunks: Iterable[Chunk]) -> Iterator[tuple[Ints, Float32s]]:
        blocks: Any = [
            ray.put(pa.table({PLACE: pa.array(chunk.rows), TEXT: pa.array(chunk.texts)}))
            for chunk in chunks
        ]
        if not blocks:
            return
        encoded = ray.data.from_arrow_refs(blocks).map_batches(
            Encode,
            fn_constructor_args=(embed,),
            batch_size=None,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        for part in encoded.iter_batches(batch_size=None):
            found: Any = part
            yield np.asarray(found[PLACE], np.int64), np.asarray(found[VECTOR], np.float32)

    return pool
