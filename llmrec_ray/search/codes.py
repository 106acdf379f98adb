"""Vectors in, a faiss index of 4-bit codes in lists out: rows and their rough products.

A vector is [taste ; text]. The lists hold rows of like texts, and a row's code is that of its
difference from the middle of its list.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportCallIssue=false
# (faiss describes its C++ signatures, which its Python layer widens)

from typing import TYPE_CHECKING, cast

import numpy as np

from llmrec_ray.search.index import Near
from llmrec_ray.types import Float32s, Ints

if TYPE_CHECKING:
    import faiss

ITERATIONS = 10  # of k-means
BLOCK = 64  # codes read at once
SEED = 13


class Codes:
    """Product-quantised codes, 2 dimensions in 4 bits; rows are added after training."""

    def __init__(self, sample: Float32s, taste_dim: int, lists: int) -> None:
        """Train on vectors float32 [sample, dim]."""
        import faiss

        faiss.omp_set_num_threads(1)
        self._middles = _middles(sample[:, taste_dim:], lists)
        dim = sample.shape[1]
        by_text = faiss.IndexFlatIP(dim)
        by_text.add(np.pad(self._middles, [(0, 0), (taste_dim, 0)]))
        self._index = faiss.IndexIVFPQFastScan(
            by_text, dim, lists, dim // 2, 4, faiss.METRIC_INNER_PRODUCT, BLOCK
        )
        self._index.by_residual = True
        self._index.pq.cp.seed = SEED
        self._index.pq.cp.min_points_per_centroid = 1  # or faiss warns on stderr of a small head
        self._index.train(sample)

    def add(self, rows: Ints, vectors: Float32s) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._index.add_with_ids(vectors, rows)

    def likeness(self, texts: Float32s) -> Float32s:
        """How much each list's texts are like these, float32 […, lists]."""
        return texts @ self._middles.T

    def nearest(
        self, vector: Float32s, count: int, lists: int, selector: "faiss.IDSelector | None"
    ) -> Near:
        """At most `count` selected rows, of so many lists that are likest by text."""
        import faiss

        faiss.omp_set_num_threads(1)  # OpenMP keeps this for each calling thread
        held = self._index.ntotal
        products, found = self._index.search(
            vector[np.newaxis],
            min(count, held),
            params=faiss.SearchParametersIVF(nprobe=lists, sel=selector),
        )
        there = int(np.count_nonzero(found[0] >= 0))  # and none after the first that is not
        rough = cast(Float32s, products[0][:there])
        return Near(found[0][:there], rough, float(rough[-1]) if count <= there < held else -np.inf)


def _middles(texts: Float32s, lists: int) -> Float32s:
    """The middle of each list, float32 [lists, dim]."""
    import faiss

    means = faiss.Kmeans(
        texts.shape[1],
        lists,
        niter=ITERATIONS,
        spherical=True,
        seed=SEED,
        min_points_per_centroid=1,
    )
    means.train(np.ascontiguousarray(texts))
    return cast(Float32s, means.centroids)
