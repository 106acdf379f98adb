"""The map from a history to what comes next in; short vectors, and lists of what they miss, out.

W ≈ Q Pᵀ + N. Q Pᵀ is the reduced-rank regression of W (Izenman 1975): of all matrices of that rank
it predicts the training targets best in the sense of squares, and its P are the leading
eigenvectors of Wᵀ X W, found by subspace iteration (Halko, Martinsson and Tropp 2011). N holds each
source's largest entries of W - Q Pᵀ, for the pairs that enough users liked both of.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.learning.moments import Moments
from llmrec_ray.learning.next_items import NextItems
from llmrec_ray.types import Float32s, Float64s, Ints

BLOCK = 1024
"""Source items a block: bounds the memory of dense rows."""

OVERSAMPLED = 16
ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class Taste:
    """Context vectors q and target vectors p, float32 [items, dim]; zero for items never liked."""

    context: Float32s
    target: Float32s


@dataclass(frozen=True, slots=True)
class NeighbourList:
    """N as triplets of item codes and weights, [pairs]; by source, larger |weight| first."""

    sources: Ints
    targets: Ints
    weights: Float64s


def taste(found: Moments, model: NextItems, *, items: int, dim: int, seed: int) -> Taste:
    """The best q and p of at most `dim` dimensions, rotated at random.

    The rotation changes no score; it spreads the spectrum evenly over the dimensions, which a
    compressed index needs.
    """
    past = sp.csr_matrix(found.past[model.codes][:, model.codes], dtype=np.float32)
    random = np.random.default_rng(seed)
    rank = min(dim, len(model.codes))
    basis = random.normal(size=(len(model.codes), min(rank + OVERSAMPLED, len(model.codes))))
    basis = basis.astype(np.float32)
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(model.transposed_dot(past @ model.dot(basis)))[0]
    mapped = model.dot(basis)
    leading = np.linalg.eigh(mapped.T @ (past @ mapped))[1][:, ::-1][:, :rank]
    rotation = np.linalg.qr(random.normal(size=(rank, rank)))[0]
    turned = (leading @ rotation).astype(np.float32)
    return Taste(
        _spread(mapped @ turned, model.codes, items), _spread(basis @ turned, model.codes, items)
    )


def missed(
    data: Interactions, model: NextItems, learned: Taste, *, most: int, min_support: int
) -> NeighbourList:
    """What Q Pᵀ misses most of each row of W: at most `most` pairs, liked by `min_support` users.

    The diagonal is left out: an item is not its own neighbour.
    """
    liked = _liked(data)[:, model.codes]
    by_item = sp.csr_matrix(liked.T)
    context, target = learned.context[model.codes], learned.target[model.codes]
    parts: list[tuple[Ints, Ints, Float64s]] = []
    for start in range(0, len(model.codes), BLOCK):
        stop = min(start + BLOCK, len(model.codes))
        left = model.rows(start, stop) - context[start:stop] @ target.T
        together = (by_item[start:stop] @ liked).tocoo()
        kept = (together.data >= min_support) & (together.row + start != together.col)
        rows = together.row[kept].astype(np.int64)
        columns = together.col[kept].astype(np.int64)
        parts.append(_largest(rows + start, columns, left[rows, columns], most))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    sources, targets, weights = (
        np.concatenate(column) for column in zip(empty, *parts, strict=True)
    )
    return NeighbourList(model.codes[sources], model.codes[targets], weights)


def _liked(data: Interactions) -> sp.csr_matrix:
    """Which user liked which item, 0 or 1, [users, items]."""
    ones = np.ones(len(data.users), np.float32)
    shape = (data.user_count, data.item_count)
    return sp.csr_matrix((ones, (data.users, data.items)), shape=shape)


def _largest(
    rows: Ints, columns: Ints, values: NDArray[np.floating], most: int
) -> tuple[Ints, Ints, Float64s]:
    """Each row's values of largest size, ties by column."""
    order = np.lexsort((columns, -np.abs(values), rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, rows)
    kept = (np.arange(len(rows)) - starts < most) & (values != 0)
    return rows[kept].astype(np.int64), columns[kept].astype(np.int64), values[kept].astype(float)


def _spread(vectors: Float32s, codes: Ints, items: int) -> Float32s:
    spread = np.zeros((items, vectors.shape[1]), np.float32)
    spread[codes] = vectors
    return spread
