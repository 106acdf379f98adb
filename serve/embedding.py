"""Texts in, unit vectors out, on a Ray cluster: the pool's own encoder in actors of Ray Data."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
import ray.data

from llmrec_ray.errors import Unavailable
from llmrec_ray.ports import Embedder, EncoderInfo
from llmrec_ray.types import Float32s

CPU_WAIT_S = 10.0
PLACE, TEXT, VECTOR = "place", "text", "vector"
Load = Callable[[], Embedder]


class Encode:
    """One actor of the pool: batches of texts to batches of vectors."""

    def __init__(self, load: Load) -> None:
        self._embedder = load()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            PLACE: batch[PLACE],
            VECTOR: self._embedder.passages([str(text) for text in batch[TEXT]]),
        }


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


def embed(
    texts: Sequence[str],
    load: Load,
    *,
    workers: int,
    batch: int,
    progress: Callable[[int, int], None],
) -> Float32s:
    """float32 [texts, dim], rows in the order of the texts."""
    rows = [{PLACE: place, TEXT: text} for place, text in enumerate(texts)]
    encoded = ray.data.from_items(rows).map_batches(
        Encode,
        fn_constructor_args=(load,),
        batch_size=batch,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    vectors: Float32s | None = None
    done = 0
    for part in encoded.iter_batches(batch_size=batch):
        found: Any = np.asarray(part[VECTOR], np.float32)
        if vectors is None:
            vectors = np.empty((len(texts), found.shape[1]), np.float32)
        vectors[part[PLACE]] = found
        done += len(found)
        progress(done, len(texts))
    if vectors is None:
        return np.empty((0, 0), np.float32)
    return vectors
