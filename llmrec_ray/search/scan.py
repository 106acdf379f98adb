"""Rows in, faiss indexes of 4-bit codes out: they read all codes for a query, or the likely lists.

Learned vectors have heavy-tailed norms, and codes fit the many small ones badly where the few large
ones are among them. So the largest, the head, have a codebook of their own. Texts are coded by
their strongest axes, turned so that each says as much as another: half of them find as much.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportCallIssue=false
# (faiss describes its C++ signatures, which its Python layer widens)

from collections.abc import Callable
from math import ceil, sqrt
from typing import TYPE_CHECKING, cast

import numpy as np

from llmrec_ray.search.segment import Rows
from llmrec_ray.types import Bools, Float32s, Ints

if TYPE_CHECKING:
    import faiss

HEAD = 0.01
HEAD_LEAST = 64  # rows that train the head's codebook
EVEN = 1.5  # longest norm by the middle one, up to which norms count as even
TEXT_SHARE = 0.95  # of the texts' squared lengths, which the dimensions that are coded have
TRAINING = 8_192  # rows; a codebook has 16 entries
ADDED = 16_384  # rows copied at once
SCAN_LISTS = 16
IVF_PROBED = 0.2
SEED = 13


class Scan:
    """Product-quantised codes, 2 dimensions in 4 bits, in lists of which a share is probed.

    `probed` 1.0 reads every code; None divides the rows finely and reads the nearest fifth.
    """

    def __init__(self, rows: Rows, *, probed: float | None) -> None:
        self._shorten = _Shorten(rows)
        head = _head(_norms(rows))
        rest = np.setdiff1d(np.arange(len(rows)), head)
        lists = SCAN_LISTS if probed else int(4 * sqrt(len(rest)))

        def short(some: Ints) -> Float32s:
            return self._shorten(rows.vectors(some))

        self._parts = [_Codes(short, rest, lists, probed or IVF_PROBED)]
        if len(head):
            self._parts.append(_Codes(short, head, 1, 1.0))

    def nearest(self, vector: Float32s, count: int, allowed: Bools) -> tuple[Ints, Float32s]:
        """The nearest `count` by their codes, of the head and of the others."""
        hidden = len(allowed) - int(np.count_nonzero(allowed))
        vector = self._shorten(vector)
        found = [codes.nearest(vector, count, allowed, hidden) for codes in self._parts]
        if len(found) == 1:
            return found[0]
        return np.concatenate([rows for rows, _ in found]), np.concatenate([v for _, v in found])


class _Shorten:
    """[p ; t] to [p ; t A], with texts' strongest axes A: float32 […, dim] to […, fewer, even]."""

    def __init__(self, rows: Rows) -> None:
        random = np.random.default_rng(SEED)
        sample = np.sort(random.permutation(len(rows))[:TRAINING])
        text = rows.text[sample].astype(np.float64)
        shares, axes = np.linalg.eigh(text.T @ text)
        enough = np.cumsum(shares[::-1]) >= TEXT_SHARE * shares.sum()
        kept = min(int(np.argmax(enough)) + 1, text.shape[1])
        turned = np.linalg.qr(random.normal(size=(kept, kept)))[0]
        self._axes = (axes[:, ::-1][:, :kept] @ turned).astype(np.float32)
        self._taste_dim = rows.target.shape[1]

    def __call__(self, vectors: Float32s) -> Float32s:
        taste, text = vectors[..., : self._taste_dim], vectors[..., self._taste_dim :]
        short = np.concatenate([taste, text @ self._axes], axis=-1)
        if odd := short.shape[-1] % 2:  # codes take dimensions in pairs
            short = np.pad(short, [(0, 0)] * (short.ndim - 1) + [(0, odd)])
        return short


class _Codes:
    """The codes of some rows, ascending; their codebook is trained on these alone."""

    def __init__(
        self, vectors: Callable[[Ints], Float32s], coded: Ints, lists: int, probed: float
    ) -> None:
        lists = max(1, min(lists, len(coded) // 64))
        self._coded = coded
        self._probes = ceil(probed * lists)
        self._index = self._build(vectors, lists)

    def nearest(
        self, vector: Float32s, count: int, allowed: Bools, hidden: int
    ) -> tuple[Ints, Float32s]:
        """At most `count` allowed rows and their rough products; `hidden` rows are not allowed."""
        import faiss

        options: dict[str, object] = {"nprobe": self._probes}
        if hidden > count:
            bits = np.packbits(allowed[self._coded], bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        else:  # a few hidden rows are left out afterwards, which is cheaper
            count += hidden
        faiss.omp_set_num_threads(1)  # OpenMP keeps this for each calling thread
        products, found = self._index.search(
            vector[np.newaxis],
            min(count, len(self._coded)),
            params=faiss.SearchParametersIVF(**options),
        )
        there = found[0] >= 0
        rows, rough = self._coded[found[0][there]], cast(Float32s, products[0][there])
        if not hidden:
            return rows, rough
        seen = allowed[rows]
        return rows[seen], rough[seen]

    def _build(self, vectors: Callable[[Ints], Float32s], lists: int) -> "faiss.IndexIVFPQFastScan":
        import faiss

        random = np.random.default_rng(SEED)
        wanted = max(TRAINING, 64 * lists)
        sample = vectors(np.sort(random.permutation(self._coded)[:wanted]))
        dim = sample.shape[1]
        faiss.omp_set_num_threads(1)
        index = cast(
            "faiss.IndexIVFPQFastScan",
            faiss.index_factory(dim, f"IVF{lists},PQ{dim // 2}x4fs", faiss.METRIC_INNER_PRODUCT),
        )
        index.cp.seed = SEED
        index.pq.cp.min_points_per_centroid = 1  # or faiss warns on stderr of a small head
        index.train(sample)
        for start in range(0, len(self._coded), ADDED):
            index.add(vectors(self._coded[start : start + ADDED]))
        return index


def _norms(rows: Rows) -> Float32s:
    """Lengths of [p ; t], float32 [rows]."""
    squares = np.einsum("nd,nd->n", rows.target, rows.target) + rows.norms**2
    return np.sqrt(squares).astype(np.float32)


def _head(norms: Float32s) -> Ints:
    """The rows that get codes of their own, ascending: none where norms are even."""
    if norms.max() <= EVEN * float(np.median(norms)):
        return np.arange(0)
    size = max(HEAD_LEAST, ceil(HEAD * len(norms)))
    return np.sort(np.argsort(-norms, kind="stable")[:size])
