"""Scores of items for pasts come in, ranked codes go out: what the peers share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from llmrec_ray.evaluation.data import Ask, Past
from llmrec_ray.types import Bools, Float64s, Ints

BLOCK = 512
"""Asks whose scores are in memory at once."""

TIE = 1e-9
"""What popularity adds, so that items without any score are ranked by it."""

Scores = Callable[[Sequence[Past]], Float64s]
"""Scores of all items, float64 [pasts, items]."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Ranks by a function of the past; `popularity` float64 [items] in [0, 1] breaks ties."""

    scores: Scores
    popularity: Float64s

    def rank(self, asks: Sequence[Ask], allowed: Bools, limit: int) -> Ints:
        def scores(block: slice) -> Float64s:
            return self.scores([ask.past for ask in asks[block]])

        return ranked(scores, self.popularity, asks, allowed, limit)


def ranked(
    scores: Callable[[slice], Float64s],
    popularity: Float64s,
    asks: Sequence[Ask],
    allowed: Bools,
    limit: int,
) -> Ints:
    """The best codes by scores of a block of the asks, float64 [asks of the block, items]."""
    found = [np.zeros((0, limit), dtype=np.int64)]
    ties = TIE * _places(popularity)
    for start in range(0, len(asks), BLOCK):
        block = slice(start, start + BLOCK)
        values = scores(block) + ties
        values[:, ~allowed] = -np.inf
        for row, ask in enumerate(asks[block]):
            values[row, ask.masked] = -np.inf
        found.append(top(values, limit))
    return np.concatenate(found)


def top(scores: Float64s, limit: int) -> Ints:
    """The best codes of each row; -inf is never ranked; padded with -1."""
    kept = min(limit, scores.shape[1])
    best = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
    by_score = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    order = np.take_along_axis(best, by_score, axis=1)
    ranked = np.where(np.isneginf(np.take_along_axis(scores, order, axis=1)), -1, order)
    return np.pad(ranked, ((0, 0), (0, limit - kept)), constant_values=-1).astype(np.int64)


def _places(popularity: Float64s) -> Float64s:
    """Different for every item, in [0, 1): more popular is larger, then the smaller code."""
    codes = np.arange(len(popularity))
    places = np.empty(len(codes))
    places[np.lexsort((-codes, popularity))] = codes / max(len(codes), 1)
    return places


def pulls(pasts: Sequence[Past], items: int, recency: float) -> sp.csr_matrix:
    """recency^age for each event, the newest has age 0; repeats add up, float64 [pasts, items]."""
    lengths = [len(past) for past in pasts]
    rows = np.repeat(np.arange(len(pasts)), lengths)
    empty = np.zeros(0, dtype=np.int64)
    columns = np.concatenate([empty, *(past.codes for past in pasts)])
    ages = np.concatenate([empty, *(np.arange(length)[::-1] for length in lengths)])
    return sp.csr_matrix((recency**ages, (rows, columns)), shape=(len(pasts), items))


def taken(pasts: Sequence[Past], items: int) -> sp.csr_matrix:
    """1 where a user took an item, float64 [pasts, items]."""
    found = pulls(pasts, items, 1.0)
    found.data[:] = 1.0
    return found


def popularity_of(seen: sp.csr_matrix) -> Float64s:
    """How many users took each item, with the most taken at 1, float64 [items]."""
    counts = np.asarray(seen.sum(axis=0)).ravel()
    return counts / max(float(counts.max(initial=0.0)), 1.0)
