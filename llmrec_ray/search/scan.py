"""Rows in, 4-bit codes of them out: texts' codes for a query of text, joint ones for taste.

Texts lie in lists of like ones. A query of one text reads the likest lists only: those up to which
nearly all of the nearest were found, for rows that no list was made from. Sums of texts and filters
do not follow the lists, and such queries read all.

A query with taste reads all joint codes. Learned vectors have heavy-tailed norms, and codes fit the
many small ones badly where the few large ones are among them. So the largest, the head, have a
codebook of their own.

Texts are coded by their strongest axes, turned at random, which spreads what they say evenly: half
of the axes are then enough.
"""

from collections.abc import Callable, Sequence
from math import ceil, sqrt

import numpy as np

from llmrec_ray.search.codes import Codes, selecting
from llmrec_ray.search.index import Near
from llmrec_ray.search.segment import Rows
from llmrec_ray.types import Bools, Float32s, Ints

HEAD = 0.01
HEAD_LEAST = 64  # rows that train the head's codebook
EVEN = 1.5  # longest norm by the middle one, up to which norms count as even
KEPT = 0.95  # of texts' squared lengths, which the axes that are coded have
LISTS = 0.7  # of texts, for each square root of rows
TRAINING = 8_192  # rows; a codebook has 16 entries
TRAINING_LIST = 40  # rows for each list
TRIED = 12_000  # rows, of which the nearest are looked for
TRIES = 4_000
TRIED_AT_ONCE = 250
CLOSE = 25
FOUND = 0.998  # of the closest
FEW_ASKED = 300  # rows for the closest: the likest lists are enough
ADDED = 16_384  # rows copied at once
SEED = 13
NO_ROWS: Ints = np.zeros(0, np.int64)


class Scan:
    """Product-quantised codes of t and of [p ; t], 2 dimensions in 4 bits."""

    def __init__(self, rows: Rows) -> None:
        everything = np.arange(len(rows))
        mixed = np.random.default_rng(SEED).permutation(len(rows))
        self._taste_dim = rows.target.shape[1]
        self._axes = _strongest(rows.text[np.sort(mixed[:TRAINING])])
        lists = int(LISTS * sqrt(len(rows)))
        wanted = max(TRAINING, TRAINING_LIST * lists)
        learned, others = np.split(mixed, [min(wanted, len(rows) // 2)])

        def texts(some: Ints) -> Float32s:
            return rows.text[some] @ self._axes

        def joint(some: Ints) -> Float32s:
            return _joint(rows.target[some], texts(some))

        self._texts = _coded(texts, everything, learned, lists)
        self._gap = self._far_enough(texts(np.sort(others[:TRIED])), len(rows))
        self._tastes: list[Codes] = []
        if self._taste_dim:
            head = _head(_norms(rows))
            rest = mixed[~head[mixed]]
            self._tastes.append(_coded(joint, np.sort(rest), rest[:TRAINING], 1))
            if head.any():
                largest = np.flatnonzero(head)
                self._tastes.append(_coded(joint, largest, largest, 1))

    def nearest(
        self, vector: Float32s, count: int, allowed: Bools, *, one_text: bool = False
    ) -> Near:
        """The nearest `count` by their codes, and where taste counts as many of the head."""
        there = int(np.count_nonzero(allowed))
        hidden = len(allowed) - there
        selector = selecting(allowed) if hidden > count else None
        # A few hidden rows are left out afterwards, which is cheaper.
        wanted = count if selector else count + hidden
        taste, text = vector[: self._taste_dim], vector[self._taste_dim :] @ self._axes
        if taste.any():
            joint = _joint(taste, text)
            near = _together([each.nearest(joint, wanted, selector) for each in self._tastes])
        else:
            near = Near(NO_ROWS, np.zeros(0, np.float32), np.inf)
            if one_text and not selector and count <= FEW_ASKED:
                near = self._texts.nearest(text, wanted, None, self._likest(text)).only(allowed)
            if len(near.rows) < min(count, there):
                near = self._texts.nearest(text, wanted, selector)
        near = near.only(allowed)
        return near if len(near.rows) >= min(count, there) else _filled(near, allowed, count)

    def _likest(self, text: Float32s) -> int:
        """How many lists are enough for one text."""
        likeness = self._texts.likeness(text)
        least = likeness.max() - self._gap * float(np.linalg.norm(text))
        return int(np.count_nonzero(likeness >= least))

    def _far_enough(self, texts: Float32s, rows: int) -> float:
        """A list is read if it is at most so much less like a text of length 1 than the likest is.

        Among a tenth of all rows, the nearest one is about as near as the tenth of all.
        """
        likeness = self._texts.likeness(texts)
        lists = likeness.argmax(axis=1)
        rank = max(1, round(CLOSE * len(texts) / rows))
        gaps: list[Float32s] = []
        for start in range(0, min(TRIES, len(texts)), TRIED_AT_ONCE):
            asked = np.arange(start, min(start + TRIED_AT_ONCE, len(texts)))
            products = texts[asked] @ texts.T
            products[np.arange(len(asked)), asked] = -np.inf
            nearest = np.argpartition(products, -rank, axis=1)[:, -rank:]
            there = np.take_along_axis(likeness[asked], lists[nearest], axis=1)
            lengths = np.linalg.norm(texts[asked], axis=1, keepdims=True)
            missed = likeness[asked].max(axis=1, keepdims=True) - there
            gaps.append(missed / np.maximum(lengths, np.finfo(np.float32).tiny))
        return float(np.quantile(np.concatenate(gaps), FOUND))


def _coded(vectors: Callable[[Ints], Float32s], coded: Ints, learned: Ints, lists: int) -> Codes:
    """The codes of some rows; the codebook and the lists are made from `learned` ones of them."""
    codes = Codes(vectors(np.sort(learned)), max(1, min(lists, len(learned) // TRAINING_LIST)))
    for start in range(0, len(coded), ADDED):
        some = coded[start : start + ADDED]
        codes.add(some, vectors(some))
    return codes


def _joint(taste: Float32s, text: Float32s) -> Float32s:
    """Both, float32 [..., even], since codes take dimensions in pairs."""
    even = np.zeros((*taste.shape[:-1], taste.shape[-1] % 2), np.float32)
    return np.concatenate([taste, even, text], axis=-1)


def _together(parts: Sequence[Near]) -> Near:
    """All of several, which have no row in common."""
    return Near(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.rough for part in parts]),
        max(part.beyond for part in parts),
    )


def _filled(near: Near, allowed: Bools, count: int) -> Near:
    """With other allowed rows up to `count`: faiss leaves out those whose codes say nothing."""
    others = allowed.copy()
    others[near.rows] = False
    some = np.flatnonzero(others)[: count - len(near.rows)]
    rough = np.concatenate([near.rough, np.full(len(some), -np.inf, np.float32)])
    return Near(np.concatenate([near.rows, some]), rough, np.inf)


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
