"""Ranked item codes and the items that were wanted come in; measures of the ranking go out.

`ranked` is int64 [asks, k], best first, padded with -1; `targets` has one array of item codes an
ask, without repeats and never empty. Measures of one ask each come as float64 [asks].
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from llmrec_ray.types import Bools, Float64s, Ints

SMOOTHING = 0.01
"""How much of the wanted distribution is mixed into the answered one: α of Steck 2018."""


def hits(ranked: Ints, targets: Sequence[Ints]) -> Bools:
    """Whether each place holds a wanted item, bool [asks, k]."""
    found = [np.isin(row, wanted) for row, wanted in zip(ranked, targets, strict=True)]
    return np.array(found, dtype=np.bool_).reshape(ranked.shape)


def sizes(targets: Sequence[Ints]) -> Ints:
    """How many items each ask wanted, int64 [asks]."""
    return np.array([len(wanted) for wanted in targets], dtype=np.int64)


def ndcg(hit: Bools, wanted: Ints, k: int) -> Float64s:
    """Σ 1/log2(rank + 1) over hits, by that of an ideal list cut at min(|T|, k)."""
    gains = 1.0 / np.log2(np.arange(2, max(k, hit.shape[1]) + 2))
    ideals = np.cumsum(gains)[np.minimum(wanted, k) - 1].reshape(-1)
    return (hit[:, :k] * gains[: min(k, hit.shape[1])]).sum(axis=1) / ideals


def recall(hit: Bools, wanted: Ints, k: int) -> Float64s:
    """The share of the wanted items that are among the first k: hits / |T|."""
    return hit[:, :k].sum(axis=1) / wanted


def hit_rate(hit: Bools, k: int) -> Float64s:
    """1 where a wanted item is among the first k."""
    return (hit[:, :k].sum(axis=1) > 0).astype(np.float64)


def reciprocal_rank(hit: Bools, k: int) -> Float64s:
    """1 / rank of the first wanted item, 0 where none is among the first k."""
    cut = hit[:, :k]
    first = cut.argmax(axis=1) + 1.0 if cut.shape[1] else np.ones(len(cut))
    return cut.any(axis=1) / first


def coverage(ranked: Ints, items: int) -> float:
    """The share of `items` that anybody was shown."""
    return len(np.unique(ranked[ranked >= 0])) / items if items else 0.0


def gini(ranked: Ints, items: Ints) -> float:
    """How unevenly the shown places are shared among `items`: 0 evenly, towards 1 all to one."""
    counts = np.bincount(ranked[ranked >= 0], minlength=int(items.max(initial=-1)) + 1)
    shown = np.sort(counts[items])
    if not shown.sum():
        return 0.0
    weights = 2 * np.arange(1, len(items) + 1) - len(items) - 1
    return float(weights @ shown / (len(items) * shown.sum()))


def novelty(ranked: Ints, users_of: Ints, users: int) -> float:
    """Mean self-information −log2 p of shown items, p = (users of the item + 1) / (users + 1)."""
    shown = ranked[ranked >= 0]
    if not len(shown):
        return 0.0
    return float(-np.log2((users_of[shown] + 1.0) / (users + 1.0)).mean())


def diversity(ranked: Ints, vectors: sp.csr_matrix) -> Float64s:
    """Mean 1 − cosine over the pairs of a list; `vectors` are unit or 0, [items, dim]."""
    rows, places = np.nonzero(ranked >= 0)
    shape = (len(ranked), vectors.shape[0])
    shown = sp.csr_matrix((np.ones(len(rows)), (rows, ranked[rows, places])), shape=shape)
    total = sp.csr_matrix(shown @ vectors)
    squares = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    between = np.asarray(total.multiply(total).sum(axis=1)).ravel() - shown @ squares
    counts = np.bincount(rows, minlength=len(ranked))
    pairs = np.maximum(counts * (counts - 1), 1)
    return np.where(counts > 1, 1.0 - between / pairs, 0.0)


def miscalibration(ranked: Ints, histories: Sequence[Ints], features: Float64s) -> Float64s:
    """KL(history ‖ list) over features, 0 where both have the same mix (Steck 2018).

    `features` float64 [items, features]: an item's own mix, a row sums to 1, or to 0 without any.
    """
    values = np.zeros(len(ranked))
    for row, (codes, history) in enumerate(zip(ranked, histories, strict=True)):
        wanted, shown = _mix(features[history]), _mix(features[codes[codes >= 0]])
        if wanted is not None and shown is not None:
            smooth = (1 - SMOOTHING) * shown + SMOOTHING * wanted
            has = wanted > 0
            values[row] = float(wanted[has] @ np.log(wanted[has] / smooth[has]))
    return values


def _mix(features: Float64s) -> Float64s | None:
    total = features.sum(axis=0)
    return total / total.sum() if total.sum() > 0 else None


def popularity_lift(ranked: Ints, histories: Sequence[Ints], users_of: Ints) -> float:
    """How much more popular lists are than histories: (list − history) / history (Abdollahpouri).

    Each user's mean popularity counts once; askers without history or list are left out.
    """
    pairs = [
        (users_of[codes[codes >= 0]].mean(), users_of[history].mean())
        for codes, history in zip(ranked, histories, strict=True)
        if len(history) and (codes >= 0).any()
    ]
    if not pairs:
        return 0.0
    shown, had = np.mean(pairs, axis=0)
    return float((shown - had) / had) if had else 0.0
