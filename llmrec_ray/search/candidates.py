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

NEAREST = 240  # rows scored for their vectors, and for each row of the answer as many as the next
NEAREST_EACH = 4
REACH = 3  # times as many are asked of the index where neighbours or the prior order them anew
LINKED = 1_024  # neighbours of a history that are scored, those that it pulls most
POPULAR = 128


@dataclass(frozen=True, slots=True)
class Pulls:
    """What a history adds through neighbours: rows ascending, and the sum for each."""

    rows: Ints
    sums: Float64s

    def at(self, pool: Ints) -> Float64s:
        """The sums of a pool's rows, ascending; 0 where nothing pulls."""
        sums = np.zeros(len(pool))
        if len(self.rows) and len(pool):
            places = np.minimum(np.searchsorted(pool, self.rows), len(pool) - 1)
            met = pool[places] == self.rows
            sums[places[met]] = self.sums[met]
        return sums

    def within(self, allowed: Bools) -> tuple[Ints, Float64s]:
        """The rows that are allowed, and their sums."""
        seen = allowed[self.rows]
        return self.rows[seen], self.sums[seen]


def through_neighbours(weights: Float64s, event: WeightedEvent, mix: Mix) -> Float64s:
    """grid(β w N): one event's addends to the rows that list it, shape as `weights`."""
    return on_grid(mix.neighbours * event.weight * weights)


def pulls_of(rows: Rows, events: Sequence[WeightedEvent], mix: Mix) -> Pulls:
    """Σ grid(β w N) over the events; addends on the grid have the same sum in any order."""
    if not events:
        return Pulls(np.arange(0), np.zeros(0))
    targets, addends = [np.arange(0)], [np.zeros(0)]
    for event in events:
        linked, weights = rows.neighbours.of(event.item_id)
        targets.append(linked)
        addends.append(through_neighbours(weights, event, mix))
    found, places = np.unique(np.concatenate(targets), return_inverse=True)
    sums = np.bincount(places, np.concatenate(addends), minlength=len(found))
    return Pulls(found, sums.astype(np.float64, copy=False))


def nearest_pool(
    rows: Rows, index: Index | None, vector: Float32s, allowed: Bools, limit: int
) -> Ints:
    """Allowed rows whose [p ; t] is nearest to a vector [dim], ascending."""
    if index is None or is_selective(int(np.count_nonzero(allowed)), len(rows)):
        return np.flatnonzero(allowed)
    count = NEAREST + NEAREST_EACH * limit
    return np.sort(_best(*index.nearest(vector, count, allowed), count))


def pool(
    rows: Rows,
    index: Index | None,
    query: ScoreQuery,
    allowed: Bools,
    pulls: Pulls,
) -> Ints:
    """The rows to score for an additive query, ascending.

    The union of the nearest by vector, the history's neighbours and the top by prior: each alone
    misses winners (without the prior, half of the top ten of users with one event).
    """
    vector, limit, prior = query.vector.astype(np.float32), query.scope.limit, query.prior
    if (
        index is None
        or not (prior or len(pulls.rows))
        or is_selective(int(np.count_nonzero(allowed)), len(rows))
    ):
        return nearest_pool(rows, index, vector, allowed, limit)
    count = NEAREST + NEAREST_EACH * limit
    nearest, rough = index.nearest(vector, REACH * count, allowed)
    found = [_best(nearest, rough + prior * rows.popularity[nearest], count)]
    linked, sums = pulls.within(allowed)
    found.append(_best(linked, sums + prior * rows.popularity[linked], LINKED))
    if prior:
        found.append(rows.most_popular[allowed[rows.most_popular]][:POPULAR])
    return np.unique(np.concatenate(found))


def _best(rows: Ints, values: Float32s | Float64s, count: int) -> Ints:
    """The rows with the `count` largest values, in no order."""
    if len(rows) <= count:
        return rows
    return rows[np.argpartition(values, len(rows) - count)[len(rows) - count :]]
