"""Texts in, unit vectors out, on a Ray cluster: an encoder in actors of Ray Data."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
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
FEW = 4  # chunks
PLACE, TEXT, VECTOR = "place", "text", "vector"
Load = Callable[[], Embedder]


class Late:
    """Texts to vectors by an encoder that is loaded where it is first asked: in an actor."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._embedder: Embedder | None = None

    def __call__(self, texts: Sequence[str]) -> Float32s:
        return self._loaded().passages(texts)

    def info(self) -> EncoderInfo:
        return self._loaded().info

    def _loaded(self) -> Embedder:
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder


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


class Encoders:
    """An encoder on Ray: one worker that says which it is and takes few texts, a pool for many.

    After a small change, loading the model once more for a pool would take longer than the texts.
    """

    def __init__(self, embed: Late, workers: int) -> None:
        self._workers = workers
        self._first: Any = ray.remote(num_cpus=1, max_restarts=1, max_task_retries=1)(First).remote(
            embed
        )

    def info(self) -> EncoderInfo:
        return ray.get(self._first.info.remote())

    def pool(self, embed: Embed, chunks: Iterable[Chunk]) -> Iterator[tuple[Ints, Float32s]]:
        """`embed` is the one that this was made with; its worker makes room for the pool's."""
        coming = iter(chunks)
        some = list(islice(coming, FEW + 1))
        if len(some) <= FEW:
            for chunk in some:
                yield chunk.rows, ray.get(self._first.encode.remote(chunk.texts))
            return
        ray.kill(self._first)
        yield from on_ray(self._workers)(embed, chain(some, coming))


class First:
    """The worker that is asked first."""

    def __init__(self, embed: Late) -> None:
        self._embed = embed

    def info(self) -> EncoderInfo:
        return self._embed.info()

    def encode(self, texts: Sequence[str]) -> Float32s:
        return self._embed(texts)
