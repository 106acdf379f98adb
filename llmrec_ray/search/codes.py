"""Vectors in, a faiss index of 4-bit codes in lists out: rows and their rough products.

Lists hold rows of one direction, and a row's code is that of its difference from the middle of its
list.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportCallIssue=false
# (faiss describes its C++ signatures, which its Python layer widens)

from typing import TYPE_CHECKING, cast

import numpy as np

from llmrec_ray.search.index import Near
from llmrec_ray.types import Bools, Float32s, Ints

if TYPE_CHECKING:
    import faiss

ITERATIONS = 10  # of k-means
BLOCK = 64  # codes read at once
SEED = 13


def selecting(allowed: Bools) -> "faiss.IDSelector":
    """Keeps a search to the rows that are allowed; bool [rows]."""
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


class Codes:
    """Product-quantised codes, 2 dimensions in 4 bits; rows are added after training."""

    def __init__(self, sample: Float32s, lists: int) -> None:
        """Train on vectors float32 [sample, dim], of an even number of dimensions."""
        import faiss

        faiss.omp_set_num_threads(1)
        self._lists = lists
        self._middles = _middles(sample, lists)
        dim = sample.shape[1]
        by_middle = faiss.IndexFlatIP(dim)
        by_middle.add(self._middles)
        self._index = faiss.IndexIVFPQFastScan(
            by_middle, dim, lists, dim // 2, 4, faiss.METRIC_INNER_PRODUCT, BLOCK
        )
        self._index.by_residual = True
        self._index.pq.cp.seed = SEED
        self._index.pq.cp.min_points_per_centroid = 1  # or faiss warns on stderr of a small head
        self._index.train(sample)

    def add(self, rows: Ints, vectors: Float32s) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._index.add_with_ids(vectors, rows)

    def likeness(self, vectors: Float32s) -> Float32s:
        """How much each list is like each vector, float32 […, lists]."""
        return vectors @ self._middles.T

    def nearest(
        self,
        vector: Float32s,
        count: int,
        selector: "faiss.IDSelector | None",
        lists: int | None = None,
    ) -> Near:
        """At most `count` selected rows, of the likest lists or of all."""
        import faiss

        faiss.omp_set_num_threads(1)  # OpenMP keeps this for each calling thread
        held = self._index.ntotal
        products, found = self._index.search(
            vector[np.newaxis],
            min(count, held),
            params=faiss.SearchParametersIVF(nprobe=lists or self._lists, sel=selector),
        )
        there = int(np.count_nonzero(found[0] >= 0))  # and none after the first that is not
        rough = cast(Float32s, products[0][:there])
        return Near(found[0][:there], rough, float(rough[-1]) if count <= there < held else -np.inf)


def _middles(sample: Float32s, lists: int) -> Float32s:
    """The middle of each list, float32 [lists, dim]."""
    import faiss

    means = faiss.Kmeans(
        sample.shape[1],
        lists,
        niter=ITERATIONS,
        spherical=True,
        seed=SEED,
        min_points_per_centroid=1,
    )
    means.train(np.ascontiguousarray(sample))
    return cast(Float32s, means.centroids)
