"""The exact scorer: queries in, a shard's best rows out, with scores that nothing changes.

A float32 matrix product ranks a pool of rows: all of them, or an index's candidates. Whatever it
could have misplaced at the cut is scored again by the order-free float64 kernel
(`arithmetic.dots`), which alone makes the scores that leave.
"""

from collections.abc import Callable, Sequence

import numpy as np

from llmrec_ray.search.arithmetic import dot_error, dots, on_grid
from llmrec_ray.search.candidates import nearest_pool, pool, pulls_of, through_neighbours
from llmrec_ray.search.index import Index
from llmrec_ray.search.segment import Rows
from llmrec_ray.types import (
    Bools,
    Candidate,
    Float32s,
    Float64s,
    Ints,
    Metric,
    Mix,
    NearQuery,
    Scope,
    ScoreQuery,
    WeightedEvent,
)

EVEN = 2e-3  # twice what a draft allows text norms to be off 1
Allowed = Callable[[Scope], Bools]
"""Which rows a scope allows, bool [rows]: the filter without the excluded items."""


def gather(rows: Rows, events: Sequence[WeightedEvent], mix: Mix) -> Float64s:
    """Σ w [τ q ; γ (t - mean)] over the events whose items are rows here, float64 [dim]."""
    total = np.zeros(rows.dim)
    for event in events:
        if (row := rows.row_of.get(event.item_id)) is not None:
            total += _addend(rows, row, event.weight, mix)
    return total


def _addend(rows: Rows, row: int, weight: float, mix: Mix) -> Float64s:
    """w [τ q ; γ (t - mean)] on the grid, float64 [dim]: one event's addend to the query vector.

    Without the mean a history of any films pulls towards what all films have in common.
    """
    taste = on_grid(mix.taste * weight * rows.context[row].astype(np.float64))
    text = on_grid(mix.text * weight * (rows.text[row].astype(np.float64) - rows.mean))
    return np.concatenate([taste, text])


def text_addend(vector: Float32s, weight: float, mix: Mix, taste_dim: int) -> Float64s:
    """w [0 ; γ t]: what a text adds to the query vector, float64 [dim]; it has no taste."""
    pulls = on_grid(mix.text * weight * vector.astype(np.float64))
    return np.concatenate([np.zeros(taste_dim), pulls])


def vector_shares(
    rows: Rows, events: Sequence[WeightedEvent], targets: Float32s, mix: Mix
) -> Float64s:
    """What each event adds to each target [p ; t] through vectors, float64 [events, targets]."""
    shares = np.zeros((len(events), len(targets)))
    for position, event in enumerate(events):
        if (row := rows.row_of.get(event.item_id)) is not None:
            shares[position] = dots(targets, _addend(rows, row, event.weight, mix))
    return shares


def score(
    rows: Rows,
    queries: Sequence[ScoreQuery],
    mix: Mix,
    allowed: Allowed,
    index: Index | None = None,
) -> list[list[Candidate]]:
    """The best rows of each additive query, sorted by score, ties by item id."""
    vectors = np.array([query.vector for query in queries], np.float32)
    pulls = [pulls_of(rows, query.events, mix) for query in queries]
    pools = [
        pool(rows, index, query, allowed(query.scope), pulled)
        for query, pulled in zip(queries, pulls, strict=True)
    ]
    taste = rows.target.shape[1]
    products = _products(
        pools, [(rows.target, vectors[:, :taste]), (rows.text, vectors[:, taste:])]
    )
    return [
        _score_one(rows, query, product, mix, (found, pulled.at(found)))
        for query, product, found, pulled in zip(queries, products, pools, pulls, strict=True)
    ]


def _products(pools: Sequence[Ints], parts: Sequence[tuple[Float32s, Float32s]]) -> list[Float32s]:
    """What vectors add to the rows of each query's pool, float32: off by `dot_error`.

    Each part is a matrix of rows and one of queries. Rows that are far apart are slow to fetch, so
    larger pools share one reading of all rows, and a part that no query asks for is not read.
    """
    parts = [part for part in parts if part[1].any()] or parts[:1]
    if 4 * sum(len(found) for found in pools) > len(parts[0][0]):
        everything = np.zeros((len(pools), len(parts[0][0])), np.float32)
        for matrix, queries in parts:
            everything += queries @ matrix.T
        return [everything[place, found] for place, found in enumerate(pools)]
    return [
        sum(
            (matrix.take(found, axis=0) @ queries[place] for matrix, queries in parts),
            np.zeros(len(found), np.float32),
        )
        for place, found in enumerate(pools)
    ]


def _score_one(
    rows: Rows, query: ScoreQuery, product: Float32s, mix: Mix, pulled: tuple[Ints, Float64s]
) -> list[Candidate]:
    """The best of a pool; `pulled` is the pool and what neighbours add to it."""
    found, neighbours = pulled
    prior = query.prior * rows.popularity[found]
    slack = dot_error(rows.dim, rows.longest * float(np.linalg.norm(query.vector)))
    near = _near_best(product + neighbours + prior, query.scope.limit, slack)
    scores = dots(rows.vectors(found[near]), query.vector) + neighbours[near] + prior[near]
    return [
        Candidate(
            item_id=item_id,
            title=rows.title(row),
            score=value,
            prior=query.prior * float(rows.popularity[row]),
            neighbour_shares=_neighbour_shares(rows, query.events, row, mix)
            if query.with_parts
            else None,
            vector=rows.vectors(row) if query.with_parts else None,
        )
        for item_id, row, value in _ranked(rows, found[near], scores, query.scope.limit)
    ]


def _neighbour_shares(rows: Rows, events: Sequence[WeightedEvent], row: int, mix: Mix) -> Float64s:
    """What each event adds to one row through neighbours, float64 [events]."""
    shares = np.zeros(len(events))
    for position, event in enumerate(events):
        targets, weights = rows.neighbours.of(event.item_id)
        at = int(np.searchsorted(targets, row))
        if at < len(targets) and targets[at] == row:
            shares[position] = through_neighbours(weights[at : at + 1], event.weight, mix)[0]
    return shares


def near(
    rows: Rows, queries: Sequence[NearQuery], allowed: Allowed, index: Index | None = None
) -> list[list[Candidate]]:
    """The rows nearest to each vector, scored by cosine, dot product or minus the distance."""
    vectors = np.stack([query.vector for query in queries])
    pools = [
        _near_pool(rows, query, allowed(query.scope), index if _fits(rows, query.metric) else None)
        for query in queries
    ]
    found: list[list[Candidate]] = []
    products = _products(pools, [(rows.text, vectors)])
    for query, pooled, product in zip(queries, pools, products, strict=True):
        length = float(np.linalg.norm(query.vector.astype(np.float64)))
        rough = _under(query.metric, product.astype(np.float64), rows.norms[pooled], length)
        slack = 4 * dot_error(rows.text.shape[1], max(length, 1.0))
        close = pooled[_near_best(rough, query.scope.limit, slack)]
        exact = dots(rows.text[close], query.vector.astype(np.float64))
        scores = _under(query.metric, exact, rows.norms[close], length)
        found.append(
            [
                Candidate(item_id, rows.title(row), _reported(query.metric, value))
                for item_id, row, value in _ranked(rows, close, scores, query.scope.limit)
            ]
        )
    return found


def _near_pool(rows: Rows, query: NearQuery, allowed: Bools, index: Index | None) -> Ints:
    no_taste = np.zeros(rows.target.shape[1], np.float32)
    vector = np.concatenate([no_taste, query.vector])
    return nearest_pool(rows, index, vector, allowed, query.scope.limit, one_text=True)


def _fits(rows: Rows, metric: Metric) -> bool:
    """Whether the largest inner products are the nearest: always where text norms are even."""
    return metric == "dot" or rows.spread <= EVEN


def _under(metric: Metric, product: Float64s, norms: Float64s, length: float) -> Float64s:
    """Larger is better; the distance is squared, since its root is steep near zero."""
    if metric == "dot":
        return product
    if metric == "cosine":
        return product / np.maximum(norms * length, np.finfo(np.float64).tiny)
    return 2 * product - norms**2 - length**2


def _reported(metric: Metric, value: float) -> float:
    return -float(np.sqrt(max(-value, 0.0))) if metric == "euclidean" else value


def _near_best(rough: Float64s, limit: int, slack: float) -> Ints:
    """Every place that could be among the best, when `rough` is off by ≤ `slack`."""
    if len(rough) <= limit:
        return np.arange(len(rough))
    cut = np.partition(rough, len(rough) - limit)[len(rough) - limit]
    return np.flatnonzero(rough >= cut - 2 * slack)


def _ranked(rows: Rows, found: Ints, scores: Float64s, limit: int) -> list[tuple[str, int, float]]:
    """Item ids, rows and scores of the best, ties by item id."""
    ranked = [
        (-score, rows.ids[row], row)
        for row, score in zip(found.tolist(), scores.tolist(), strict=True)
    ]
    return [(item_id, row, -score) for score, item_id, row in sorted(ranked)[:limit]]
