"""Rows in, 4-bit codes of them out: a query reads all, or those of the texts that are like it.

Both parts of [p ; t] are coded by their strongest axes, turned so that each says as much as
another. Codes lie in lists of like texts, so a query of one text reads the likest lists only: those
up to which nearly all of the nearest were found, for rows that no list was made from. Taste, sums
of texts and filters do not follow the lists, and such queries read all.

Learned vectors have heavy-tailed norms, and codes fit the many small ones badly where the few large
ones are among them. So the largest, the head, have codes of their own beside, and a query with
taste reads those instead.
"""

from math import ceil, sqrt
from typing import cast

import numpy as np

from llmrec_ray.search.codes import Codes
from llmrec_ray.search.index import Near
from llmrec_ray.search.segment import Rows
from llmrec_ray.types import Bools, Float32s, Ints

HEAD = 0.01
HEAD_LEAST = 64  # rows that train the head's codebook
EVEN = 1.5  # longest norm by the middle one, up to which norms count as even
KEPT = 0.95  # of the squared lengths, which the axes that are coded have
LISTS = 1.0  # for each square root of rows
TRAINING = 8_192  # rows; a codebook has 16 entries
TRAINING_LIST = 40  # rows for each list
TRIED = 12_000  # rows, of which the nearest are looked for
TRIES = 2_000
CLOSE = 25
FOUND = 0.998  # of the closest
ADDED = 16_384  # rows copied at once
FEW_ASKED = 300  # rows for the closest: the likest lists are enough
SEED = 13


class Scan:
    """Product-quantised codes of [p ; t], 2 dimensions in 4 bits, in lists by text."""

    def __init__(self, rows: Rows) -> None:
        count = len(rows)
        mixed = np.random.default_rng(SEED).permutation(count)
        wanted = int(LISTS * sqrt(count))
        learned, others = np.split(mixed, [min(max(TRAINING, TRAINING_LIST * wanted), count // 2)])
        self._lists = max(1, min(wanted, len(learned) // TRAINING_LIST))
        sample = np.sort(learned[:TRAINING])
        self._taste, self._text = _strongest(rows.target[sample]), _strongest(rows.text[sample])
        self._head = _head(_norms(rows))
        self._codes = self._coded(
            rows, learned[~self._head[learned]], np.arange(count), self._lists
        )
        head = np.flatnonzero(self._head)
        self._of_head = self._coded(rows, head, head, 1) if len(head) else None
        self._gap = self._far_enough(rows, others[:TRIED])

    def nearest(
        self, vector: Float32s, count: int, allowed: Bools, *, one_text: bool = False
    ) -> Near:
        """The nearest `count` by their codes, and where taste counts as many of the head."""
        import faiss

        selector = None
        hidden = len(allowed) - int(np.count_nonzero(allowed))
        if hidden > count:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)  # pyright: ignore[reportCallIssue] of C++
        else:  # a few hidden rows are left out afterwards, which is cheaper
            count += hidden
        short = self._short(vector)
        tastes = vector[: len(self._taste)].any()
        likest = one_text and not tastes and not selector and count <= FEW_ASKED
        lists = self._likest(short) if likest else self._lists
        near = self._codes.nearest(short, count, lists, selector)
        if len(near.rows) < count and lists < self._lists:
            near = self._codes.nearest(short, count, self._lists, selector)
        if tastes and self._of_head:
            head = self._of_head.nearest(short, count, 1, selector)
            near = _together(head, near.only(~self._head))
        return near.only(allowed) if hidden and not selector else near

    def _likest(self, short: Float32s) -> int:
        """How many lists are enough for one text."""
        text = short[self._taste.shape[1] :]
        likeness = self._codes.likeness(text)
        least = likeness.max() - self._gap * float(np.linalg.norm(text))
        return int(np.count_nonzero(likeness >= least))

    def _short(self, vectors: Float32s) -> Float32s:
        """[p ; t] to [p B ; t A] by strongest axes: float32 […, dim] to […, fewer]."""
        dim = len(self._taste)
        parts = vectors[..., :dim] @ self._taste, vectors[..., dim:] @ self._text
        return np.concatenate(parts, axis=-1)

    def _coded(self, rows: Rows, learned: Ints, coded: Ints, lists: int) -> Codes:
        sample = self._short(rows.vectors(np.sort(learned)))
        codes = Codes(sample, self._taste.shape[1], lists)
        for start in range(0, len(coded), ADDED):
            some = coded[start : start + ADDED]
            codes.add(some, self._short(rows.vectors(some)))
        return codes

    def _far_enough(self, rows: Rows, tried: Ints) -> float:
        """How much less like a text of length 1 than the likest a list may be that it reads.

        Of a few rows the nearest one is about as near as the tenth of ten times as many.
        """
        texts = rows.text[np.sort(tried)] @ self._text
        asked = np.arange(min(TRIES, len(tried)))
        products = texts[asked] @ texts.T
        products[asked, asked] = -np.inf
        rank = max(1, round(CLOSE * len(tried) / len(rows)))
        nearest = np.argpartition(products, -rank, axis=1)[:, -rank:]
        likeness = self._codes.likeness(texts)
        there = np.take_along_axis(likeness[asked], likeness.argmax(axis=1)[nearest], axis=1)
        gaps = likeness[asked].max(axis=1, keepdims=True) - there
        lengths = np.linalg.norm(texts[asked], axis=1, keepdims=True)
        shares = cast(Float32s, gaps / np.maximum(lengths, np.finfo(np.float32).tiny))
        return float(np.quantile(shares, FOUND))


def _together(one: Near, other: Near) -> Near:
    """Both, which have no row in common."""
    rows, rough = np.concatenate([one.rows, other.rows]), np.concatenate([one.rough, other.rough])
    return Near(rows, rough, max(one.beyond, other.beyond))


def _strongest(vectors: Float32s) -> Float32s:
    """The axes with the most of the squared lengths, turned at random: float32 [dim, fewer].

    They are even in number, since codes take dimensions in pairs: a last one may be 0.
    """
    exact = vectors.astype(np.float64)
    shares, axes = np.linalg.eigh(exact.T @ exact)
    enough = np.cumsum(shares[::-1]) >= KEPT * shares.sum()
    kept = min(int(np.count_nonzero(~enough)) + 1, len(shares))
    turned = np.linalg.qr(np.random.default_rng(SEED).normal(size=(kept, kept)))[0]
    strongest = np.zeros((len(shares), kept + kept % 2), np.float32)
    strongest[:, :kept] = axes[:, ::-1][:, :kept] @ turned
    return strongest


def _norms(rows: Rows) -> Float32s:
    """Lengths of [p ; t], float32 [rows]."""
    squares = np.einsum("nd,nd->n", rows.target, rows.target) + rows.norms**2
    return np.sqrt(squares).astype(np.float32)


def _head(norms: Float32s) -> Bools:
    """Which rows get codes of their own, bool [rows]: none where norms are even."""
    head = np.zeros(len(norms), np.bool_)
    if norms.max() > EVEN * float(np.median(norms)):
        size = max(HEAD_LEAST, ceil(HEAD * len(norms)))
        head[np.argsort(-norms, kind="stable")[:size]] = True
    return head
