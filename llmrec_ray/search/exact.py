"""The exact scorer: queries in, a shard's best rows out, with scores that nothing changes.

A float32 matrix product ranks all rows; whatever it could have misplaced at the cut is scored again
by the order-free float64 kernel (`arithmetic.dots`), which alone makes the scores that leave.
"""

from collections.abc import Callable, Sequence

import numpy as np

from llmrec_ray.search.arithmetic import dot_error, dots, on_grid
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


def text_addend(vector: Float32s, mix: Mix, taste_dim: int) -> Float64s:
    """What a text asked for adds to the query vector, float64 [dim]: it has no taste."""
    pulls = on_grid(mix.text * mix.query * vector.astype(np.float64))
    return np.concatenate([np.zeros(taste_dim), pulls])


def _through_neighbours(weights: Float64s, event: WeightedEvent, mix: Mix) -> Float64s:
    """grid(β w N): one event's addends to the rows that list it, shape as `weights`."""
    return on_grid(mix.neighbours * event.weight * weights)


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
    rows: Rows, queries: Sequence[ScoreQuery], mix: Mix, allowed: Allowed
) -> list[list[Candidate]]:
    """The best rows of each additive query, sorted by score, ties by item id."""
    vectors = np.stack([query.vector for query in queries]).astype(np.float32)
    taste = rows.target.shape[1]
    products = vectors[:, :taste] @ rows.target.T + vectors[:, taste:] @ rows.text.T
    return [
        _score_one(rows, query, product, mix, allowed(query.scope))
        for query, product in zip(queries, products, strict=True)
    ]


def _score_one(
    rows: Rows, query: ScoreQuery, product: Float32s, mix: Mix, allowed: Bools
) -> list[Candidate]:
    neighbours = np.zeros(len(rows))
    for event in query.events:
        targets, weights = rows.neighbours.of(event.item_id)
        neighbours[targets] += _through_neighbours(weights, event, mix)
    prior = query.prior * rows.popularity
    slack = dot_error(rows.dim, rows.longest * float(np.linalg.norm(query.vector)))
    near = _near_best(product + neighbours + prior, allowed, query.scope.limit, slack)
    scores = dots(rows.vectors(near), query.vector) + neighbours[near] + prior[near]
    return [
        Candidate(
            item_id=rows.ids[row],
            title=rows.title(row),
            score=value,
            prior=float(prior[row]),
            neighbour_shares=_neighbour_shares(rows, query.events, row, mix)
            if query.with_parts
            else None,
            vector=rows.vectors(row) if query.with_parts else None,
        )
        for row, value in _ranked(rows, near, scores, query.scope.limit)
    ]


def _neighbour_shares(rows: Rows, events: Sequence[WeightedEvent], row: int, mix: Mix) -> Float64s:
    """What each event adds to one row through neighbours, float64 [events]."""
    shares = np.zeros(len(events))
    for position, event in enumerate(events):
        targets, weights = rows.neighbours.of(event.item_id)
        at = int(np.searchsorted(targets, row))
        if at < len(targets) and targets[at] == row:
            shares[position] = _through_neighbours(weights[at : at + 1], event, mix)[0]
    return shares


def near(rows: Rows, queries: Sequence[NearQuery], allowed: Allowed) -> list[list[Candidate]]:
    """The rows nearest to each vector, scored by cosine, dot product or minus the distance."""
    vectors = np.stack([query.vector for query in queries])
    found: list[list[Candidate]] = []
    for query, product in zip(queries, vectors @ rows.text.T, strict=True):
        length = float(np.linalg.norm(query.vector.astype(np.float64)))
        rough = _under(query.metric, product.astype(np.float64), rows.norms, length)
        slack = 4 * dot_error(rows.text.shape[1], max(length, 1.0))
        close = _near_best(rough, allowed(query.scope), query.scope.limit, slack)
        exact = dots(rows.text[close], query.vector.astype(np.float64))
        scores = _under(query.metric, exact, rows.norms[close], length)
        found.append(
            [
                Candidate(rows.ids[row], rows.title(row), _reported(query.metric, value))
                for row, value in _ranked(rows, close, scores, query.scope.limit)
            ]
        )
    return found


def _under(metric: Metric, product: Float64s, norms: Float64s, length: float) -> Float64s:
    """Larger is better; the distance is squared, since its root is steep near zero."""
    if metric == "dot":
        return product
    if metric == "cosine":
        return product / np.maximum(norms * length, np.finfo(np.float64).tiny)
    return 2 * product - norms**2 - length**2


def _reported(metric: Metric, value: float) -> float:
    return -float(np.sqrt(max(-value, 0.0))) if metric == "euclidean" else value


def _near_best(rough: Float64s, allowed: Bools, limit: int, slack: float) -> Ints:
    """Every allowed row that could be among the best, when `rough` is off by ≤ `slack`."""
    rows = np.flatnonzero(allowed)
    if len(rows) <= limit:
        return rows
    values = rough[rows]
    cut = np.partition(values, len(values) - limit)[len(values) - limit]
    return rows[values >= cut - 2 * slack]


def _ranked(rows: Rows, found: Ints, scores: Float64s, limit: int) -> list[tuple[int, float]]:
    pairs: list[tuple[int, float]] = list(zip(found.tolist(), scores.tolist(), strict=True))
    pairs.sort(key=lambda pair: (-pair[1], rows.ids[pair[0]]))
    return pairs[:limit]
