"""Interactions in, second moments of "what was liked" against "what was liked next" out.

At position t of a user's history, x_t is the history so far, each item with its weight times
recency^(how many newer ones), and y_t is what comes next, each item with its weight divided by its
distance, up to `window` items ahead. The moments are Σ x_t x_tᵀ and Σ x_t y_tᵀ over all users and
positions. To the second one `company` times every pair of a user's items is added, in both
directions: what goes together, whenever. Both are sums over pairs of one user's items at a distance
d, so no x_t is ever built.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from llmrec_ray.learning.interactions import Interactions, newer
from llmrec_ray.types import Float64s, Ints

NEGLIGIBLE = 1e-3
"""Pairs whose factor recency^d falls below this are left out, and …"""

FARTHEST = 40
"""… so are pairs farther apart than this: the number of pairs grows with it."""


@dataclass(frozen=True, slots=True)
class Moments:
    """`past` = Σ x xᵀ (symmetric) and `next` = Σ x yᵀ, sparse float64 [items, items]."""

    past: sp.csr_matrix
    next: sp.csr_matrix


def moments(data: Interactions, *, recency: float, window: int, company: float) -> Moments:
    """The moments of all users; users with one item add nothing, since nothing followed."""
    shape = (data.item_count, data.item_count)
    past, following = sp.csr_matrix(shape), sp.csr_matrix(shape)
    after = newer(data.users, data.user_count).astype(np.float64)
    for distance in range(_reach(recency, data) + 1):
        older, later = _pairs(data, distance)
        both = data.weights[older] * data.weights[later]
        pair = (data.items[older], data.items[later])
        seen_together = both * recency**distance * _positions(after[later], recency)
        block = sp.csr_matrix((seen_together, pair), shape=shape)
        past = past + (block + block.T if distance else block)
        if distance:
            ahead = both * (_kernel(distance, recency, window) + company)
            back = sp.csr_matrix((company * both, pair[::-1]), shape=shape)
            following = following + sp.csr_matrix((ahead, pair), shape=shape) + back
    return Moments(sp.csr_matrix(past), sp.csr_matrix(following))


def _pairs(data: Interactions, distance: int) -> tuple[Ints, Ints]:
    """The entries (older, later) of one user that lie `distance` apart."""
    if distance == 0:
        everything = np.arange(len(data.users))
        return everything, everything
    older = np.flatnonzero(data.users[distance:] == data.users[:-distance])
    return older, older + distance


def _reach(recency: float, data: Interactions) -> int:
    longest = int(np.bincount(data.users).max(initial=1)) - 1
    fades = FARTHEST if recency >= 1 else int(np.log(NEGLIGIBLE) / np.log(recency))
    return min(longest, fades, FARTHEST)


def _positions(after: Float64s, recency: float) -> Float64s:
    """Σ recency^2s over the s = 0 … after - 1 positions at which both items are in the past."""
    if recency >= 1:
        return after
    return (1 - recency ** (2 * after)) / (1 - recency**2)


def _kernel(distance: int, recency: float, window: int) -> float:
    """Σ recency^s / (distance - s): the later item is next but (distance - s - 1) after s steps."""
    nearest = max(0, distance - window)
    return sum(recency**steps / (distance - steps) for steps in range(nearest, distance))
