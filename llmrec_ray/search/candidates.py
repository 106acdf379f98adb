"""Queries and an index in, pools of rows out: those that are scored, the best among them.

Without an index, and where a filter leaves few, a pool is all that is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmrec_ray.search.arithmetic import on_grid
from llmrec_ray.search.index import Index, is_selective
from llmrec_ray.search.segment import Rows
from llmrec_ray.types import Bools, Float32s, Float64s, Ints, Mix, ScoreQuery, WeightedEvent

NEAREST = 200  # rows scored for their vectors, and for each row of the answer as many as the next
NEAREST_EACH = 4
REACH = 3  # times as many are asked of the index where neighbours or the prior order them anew
SPARE = 10  # times as many rows as are answered: what rough products tell apart
POPULAR = 128
FAR = 1_024  # of a history's neighbours and the popular, those that gain most


@dataclass(frozen=True, slots=True)
class Pulls:
    """What a history adds through neighbours: rows ascending, and the sum for each."""

    rows: Ints
    sums: Float64s

    def at(self, some: Ints) -> Float64s:
        """The sums of these rows; 0 where nothing pulls."""
        if not len(self.rows):
            return np.zeros(len(some))
        places = np.minimum(np.searchsorted(self.rows, some), len(self.rows) - 1)
        return np.where(self.rows[places] == some, self.sums[places], 0.0)


def through_neighbours(linked: Float64s, weight: Float64s | float, mix: Mix) -> Float64s:
    """grid(β w N): what events of weights w add to the rows that list their items, as `linked`."""
    return on_grid(mix.neighbours * weight * linked)


def pulls_of(rows: Rows, events: Sequence[WeightedEvent], mix: Mix) -> Pulls:
    """Σ grid(β w N) over the events; addends on the grid have the same sum in any order."""
    if not events:
        return Pulls(np.arange(0), np.zeros(0))
    linked = [rows.neighbours.of(event.item_id) for event in events]
    lengths = [len(targets) for targets, _ in linked]
    weights = np.repeat([event.weight for event in events], lengths)
    addends = through_neighbours(np.concatenate([each for _, each in linked]), weights, mix)
    targets = np.concatenate([targets for targets, _ in linked])
    order = np.argsort(targets)
    targets, addends = targets[order], addends[order]
    starts = np.flatnonzero(np.diff(targets, prepend=-1))
    return Pulls(targets[starts], np.add.reduceat(addends, starts) if len(starts) else addends)


def nearest_pool(
    rows: Rows,
    index: Index | None,
    vector: Float32s,
    allowed: Bools,
    limit: int,
    *,
    one_text: bool,
) -> Ints:
    """Allowed rows whose [p ; t] is nearest to a vector [dim], ascending."""
    if index is None or is_selective(int(np.count_nonzero(allowed)), len(rows)):
        return np.flatnonzero(allowed)
    return _nearest(index, vector, allowed, _wanted(limit), one_text=one_text)


def pool(
    rows: Rows,
    index: Index | None,
    query: ScoreQuery,
    allowed: Bools,
    pulls: Pulls,
) -> Ints:
    """The rows to score for an additive query, ascending.

    The nearest by vector, and of the history's neighbours and the most popular those that could be
    among the best though they are not near: each alone misses winners.
    """
    vector, limit, prior = query.vector.astype(np.float32), query.scope.limit, query.prior
    count = _wanted(limit)
    if index is None or is_selective(int(np.count_nonzero(allowed)), len(rows)):
        return np.flatnonzero(allowed)
    if not vector.any():  # a new user: an index finds nothing near to nothing
        some = np.flatnonzero(allowed)
        return np.sort(some[_best(_beside(rows, some, prior, pulls), count)])
    if not prior and not len(pulls.rows):
        return _nearest(index, vector, allowed, count, one_text=not query.events)
    near = index.nearest(vector, REACH * count, allowed)
    worth = near.rough + _beside(rows, near.rows, prior, pulls)
    best = near.rows[_best(worth, count)]
    far = _allowed(pulls.rows, allowed)
    if prior:
        far = np.concatenate([far, _allowed(rows.most_popular, allowed)[:POPULAR]])
    beside = _beside(rows, far, prior, pulls)
    reaching = beside + near.beyond >= _largest(worth, SPARE * limit)
    far, beside = far[reaching], beside[reaching]
    return _different(np.concatenate([best, far[_best(beside, FAR)]]))


def _wanted(limit: int) -> int:
    """How many rows near a vector are scored for an answer of so many."""
    return NEAREST + NEAREST_EACH * limit


def _nearest(index: Index, vector: Float32s, allowed: Bools, count: int, *, one_text: bool) -> Ints:
    """The rows of the `count` largest rough products, ascending."""
    near = index.nearest(vector, count, allowed, one_text=one_text)
    return np.sort(near.rows[_best(near.rough, count)])


def _beside(rows: Rows, some: Ints, prior: float, pulls: Pulls) -> Float64s:
    """What some rows score beside their vectors."""
    return pulls.at(some) + prior * rows.popularity[some]


def _allowed(some: Ints, allowed: Bools) -> Ints:
    return some[allowed[some]]


def _largest(values: Float64s, place: int) -> float:
    """The value at a place from the top; with fewer values, nothing is too small."""
    if len(values) < place:
        return -np.inf
    return float(np.partition(values, len(values) - place)[len(values) - place])


def _different(rows: Ints) -> Ints:
    """Each once, ascending."""
    rows = np.sort(rows)
    return rows[np.flatnonzero(np.diff(rows, prepend=-1))]


def _best(values: Float32s | Float64s, count: int) -> Ints:
    """The places of the `count` largest values, in no order."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, len(values) - count)[len(values) - count :]
