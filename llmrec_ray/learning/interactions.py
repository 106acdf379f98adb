"""Events in, weighted user-item interactions out: what every channel learns from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from llmrec_ray.types import Event, Float64s, Ints

LONGEST_HISTORY = 500
"""Older events of a user are left out: co-occurrence grows with a history's square."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """What users liked, one entry a user and item, in each user's order of time.

    `users` and `items` are codes, int64 [entries], sorted by user, then by time; `weights` > 0.
    """

    users: Ints
    items: Ints
    weights: Float64s
    user_count: int
    item_count: int


def interactions(histories: Iterable[Sequence[tuple[int, float]]], item_count: int) -> Interactions:
    """From each user's (item code, weight) pairs, oldest first.

    Weights of one item add up; an item counts at its newest event, and only while its sum is
    positive.
    """
    users: list[int] = []
    items: list[int] = []
    weights: list[float] = []
    count = 0
    for history in histories:
        sums: dict[int, float] = {}
        for item, weight in history[-LONGEST_HISTORY:]:
            sums[item] = sums.pop(item, 0.0) + weight  # moves the item to its newest place
        liked = [(item, weight) for item, weight in sums.items() if weight > 0]
        if liked:
            users += [count] * len(liked)
            items += [item for item, _ in liked]
            weights += [weight for _, weight in liked]
            count += 1
    return Interactions(
        np.array(users, dtype=np.int64),
        np.array(items, dtype=np.int64),
        np.array(weights, dtype=np.float64),
        count,
        item_count,
    )


def by_user(events: Iterable[Event]) -> Iterable[list[Event]]:
    """Group events that come sorted by user."""
    for _, group in groupby(events, key=lambda event: event.user_id):
        yield list(group)
