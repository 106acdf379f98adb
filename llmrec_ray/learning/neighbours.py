"""Interactions in, neighbours for every item out: what goes together, and what follows.

N[source, target] = (1 - s) · cosine + s · transition, where
- cosine(j, i) = Σ_u w_uj w_ui / (‖w_j‖ ‖w_i‖ + shrinkage): item-kNN (Sarwar et al. 2001) with
  the shrinkage of Ferrari Dacrema et al. 2019, which keeps pairs seen by few users small;
- transition(j, i) = Σ 1/d over users who took i as the d-th item after j (d ≤ window), divided by
  (count_j + shrinkage).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.types import Float64s, Ints

BLOCK = 2048
"""Source items a block: bounds the memory of the products."""


@dataclass(frozen=True, slots=True)
class NeighbourSettings:
    """`most` neighbours an item; a pair needs `min_support` users."""

    most: int
    min_support: int
    shrinkage: float
    window: int
    transition_share: float


@dataclass(frozen=True, slots=True)
class NeighbourList:
    """N as triplets of item codes and weights, [pairs]; by source, larger weights first."""

    sources: Ints
    targets: Ints
    weights: Float64s


def neighbours(data: Interactions, settings: NeighbourSettings) -> NeighbourList:
    """The `most` largest neighbours of every item; items without company have none."""
    shape = (data.user_count, data.item_count)
    liked = sp.csr_matrix((data.weights, (data.users, data.items)), shape=shape)
    seen = sp.csr_matrix((np.ones(len(data.users)), (data.users, data.items)), shape=shape)
    norms = np.sqrt(np.asarray(liked.multiply(liked).sum(axis=0)).ravel())
    follows = _transitions(data, settings)
    by_item, seen_by_item = liked.T.tocsr(), seen.T.tocsr()
    parts: list[tuple[Ints, Ints, Float64s]] = []
    for start in range(0, data.item_count, BLOCK):
        stop = min(start + BLOCK, data.item_count)
        block = _cosines(by_item[start:stop] @ liked, norms, start, settings)
        block = block + settings.transition_share * follows[start:stop]
        block = _supported(block, seen_by_item[start:stop] @ seen, start, settings.min_support)
        parts += _largest(block, start, settings.most)
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    columns = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
    return NeighbourList(*columns)


def popularity(data: Interactions) -> Float64s:
    """How many users like each item, on a log scale with the most liked at 1, float64 [items]."""
    counts = np.bincount(data.items, minlength=data.item_count).astype(np.float64)
    logs = np.log1p(counts)
    return logs / max(float(logs.max(initial=0.0)), 1.0)


def _cosines(
    products: sp.csr_matrix, norms: Float64s, start: int, settings: NeighbourSettings
) -> sp.csr_matrix:
    pairs = products.tocoo()
    scale = norms[pairs.row + start] * norms[pairs.col] + settings.shrinkage
    values = (1 - settings.transition_share) * pairs.data / scale
    return sp.csr_matrix((values, (pairs.row, pairs.col)), shape=products.shape)


def _transitions(data: Interactions, settings: NeighbourSettings) -> sp.csr_matrix:
    """transition(j, i) for all pairs, [items, items]; nearer pairs weigh more."""
    total = sp.csr_matrix((data.item_count, data.item_count))
    for distance in range(1, min(settings.window, len(data.items) - 1) + 1):
        same = data.users[distance:] == data.users[:-distance]
        pair = (data.items[:-distance][same], data.items[distance:][same])
        weights = np.full(int(same.sum()), 1.0 / distance)
        total = total + sp.csr_matrix((weights, pair), shape=total.shape)
    counts = np.bincount(data.items, minlength=data.item_count)
    return sp.csr_matrix(sp.diags(1.0 / np.maximum(counts + settings.shrinkage, 1.0)) @ total)


def _supported(
    block: sp.csr_matrix, together: sp.csr_matrix, start: int, least: int
) -> sp.csr_matrix:
    """Without an item's pair with itself, and without pairs that fewer than `least` users share."""
    pairs = block.tocoo()
    kept = pairs.col != pairs.row + start
    if least > 1:
        shared = np.asarray(sp.csr_matrix(together)[pairs.row, pairs.col]).ravel()
        kept &= shared >= least
    return sp.csr_matrix((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=block.shape)


def _largest(block: sp.csr_matrix, start: int, most: int) -> list[tuple[Ints, Ints, Float64s]]:
    """Each row's largest values, larger first, ties by target code."""
    pairs = block.tocoo()
    order = np.lexsort((pairs.col, -pairs.data, pairs.row))
    rows, targets, weights = pairs.row[order], pairs.col[order], pairs.data[order]
    firsts = np.searchsorted(rows, np.arange(block.shape[0]))
    kept = (np.arange(len(rows)) - firsts[rows] < most) & (weights > 0)
    sources = rows[kept].astype(np.int64) + start
    return [(sources, targets[kept].astype(np.int64), weights[kept])]
