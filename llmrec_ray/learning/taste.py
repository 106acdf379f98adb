"""The map from a history to what comes next in; short vectors, and lists of what they miss, out.

W ≈ Q Pᵀ + N. Q Pᵀ is the reduced-rank regression of W (Izenman 1975): of all matrices of that rank
it predicts the training targets best in the sense of squares, and its P are the leading
eigenvectors of Wᵀ X W, found by subspace iteration (Halko, Martinsson and Tropp 2011). N holds each
source's largest entries of W - Q Pᵀ, for the pairs that enough users liked both of.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from llmrec_ray.learning.blocks import Block, Spread, blocks_of, here
from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.learning.moments import AT_ONCE, PAIRS, Moments, largest
from llmrec_ray.learning.next_items import NextItems, among
from llmrec_ray.types import Float32s, Float64s, Ints

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
    past = among(found.past, model.codes)
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


@dataclass(frozen=True, slots=True)
class Liked:
    """What every block of `missed` reads; items are numbered as in `model.codes`.

    `by_user` is 1 where a user liked an item, [users, items]; `by_item` its transpose; a source of
    the tail looks at the `most_pairs` items that most users liked with it.
    """

    by_user: sp.csr_matrix
    by_item: sp.csr_matrix
    model: NextItems
    context: Float32s
    target: Float32s
    most: int
    min_support: int
    most_pairs: int


def missed(
    data: Interactions,
    model: NextItems,
    learned: Taste,
    *,
    most: int,
    min_support: int,
    spread: Spread = here,
) -> NeighbourList:
    """What Q Pᵀ misses most of each row of W: at most `most` pairs, liked by `min_support` users.

    The diagonal is left out: an item is not its own neighbour.
    """
    by_user = _liked(data, model.codes)
    by_item = sp.csr_matrix(by_user.T)
    common = Liked(
        by_user,
        by_item,
        model,
        learned.context[model.codes],
        learned.target[model.codes],
        most=most,
        min_support=min_support,
        most_pairs=PAIRS // max(data.item_count, 1),
    )
    others = by_item @ np.diff(by_user.indptr).astype(np.float64)
    parts = spread(missed_rows, common, blocks_of(others + len(model.codes), AT_ONCE))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    sources, targets, weights = (
        np.concatenate(column) for column in zip(empty, *parts, strict=True)
    )
    return NeighbourList(model.codes[sources], model.codes[targets], weights)


def missed_rows(common: Liked, block: Block) -> tuple[Ints, Ints, Float64s]:
    """The pairs of the sources start … stop, by source, larger |weight| first, ties by target."""
    start, stop = block
    together = sp.csr_matrix(common.by_item[start:stop] @ common.by_user)
    sources: list[Ints] = []
    targets: list[Ints] = []
    weights: list[Float64s] = []
    for source in range(start, stop):
        found = _largest_of(common, source, *_row(together, source - start))
        sources.append(np.full(len(found[0]), source, np.int64))
        targets.append(found[0])
        weights.append(found[1])
    return np.concatenate(sources), np.concatenate(targets), np.concatenate(weights)


def _largest_of(
    common: Liked, source: int, targets: Ints, users: Float32s
) -> tuple[Ints, Float64s]:
    kept = (users >= common.min_support) & (targets != source)
    targets, users = targets[kept], users[kept]
    if source >= len(common.model.head):
        targets = targets[largest(users, common.most_pairs)]
    vectors = common.target if len(targets) > len(common.target) // 4 else common.target[targets]
    said = vectors @ common.context[source]
    said = said[targets] if len(vectors) > len(targets) else said
    left = common.model.row(source, targets) - said
    kept = largest(np.abs(left), common.most) & (left != 0)
    targets, left = targets[kept].astype(np.int64), left[kept].astype(np.float64)
    order = np.lexsort((targets, -np.abs(left)))
    return targets[order], left[order]


def _row(matrix: sp.csr_matrix, row: int) -> tuple[Ints, Float32s]:
    """A row's columns in order, and its values."""
    span = slice(int(matrix.indptr[row]), int(matrix.indptr[row + 1]))
    columns = matrix.indices[span].astype(np.int64)
    order = np.argsort(columns)
    return columns[order], matrix.data[span][order]


def _liked(data: Interactions, codes: Ints) -> sp.csr_matrix:
    """Which user liked which of the items `codes`, 0 or 1, float32 [users, codes]."""
    place = np.full(data.item_count, -1, np.int64)
    place[codes] = np.arange(len(codes))
    columns = place[data.items]
    kept = columns >= 0
    ones = np.ones(int(np.count_nonzero(kept)), np.float32)
    shape = (data.user_count, len(codes))
    return sp.csr_matrix((ones, (data.users[kept], columns[kept])), shape=shape)


def _spread(vectors: Float32s, codes: Ints, items: int) -> Float32s:
    spread = np.zeros((items, vectors.shape[1]), np.float32)
    spread[codes] = vectors
    return spread
