"""Small random interactions, and the map from a history to what comes next as it is defined."""

import numpy as np

from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.types import Float64s


def random_interactions(users: int, items: int, mean: float, seed: int) -> Interactions:
    """Users with a few different items each, the first ones more often, in a random order."""
    random = np.random.default_rng(seed)
    counts = np.minimum(random.geometric(1 / mean, users), items)
    popular = 1.0 / np.arange(1, items + 1)
    chosen = [
        random.choice(items, size=count, replace=False, p=popular / popular.sum())
        for count in counts
    ]
    total = int(counts.sum())
    return Interactions(
        np.repeat(np.arange(users), counts),
        np.concatenate(chosen),
        random.choice([0.2, 1.0, 1.5], total),
        users,
        items,
    )


def defined_moments(
    data: Interactions, recency: float, window: int, company: float
) -> tuple[Float64s, Float64s]:
    """Σ x xᵀ and Σ x yᵀ, position by position, and `company` a pair, dense."""
    past, following = (np.zeros((data.item_count, data.item_count)) for _ in range(2))
    for user in range(data.user_count):
        own = data.users == user
        items, weights = data.items[own], data.weights[own]
        for place in range(1, len(items)):
            x, y = np.zeros(data.item_count), np.zeros(data.item_count)
            x[items[:place]] = weights[:place] * recency ** np.arange(place)[::-1]
            ahead = items[place : place + window]
            y[ahead] = weights[place : place + window] / np.arange(1, len(ahead) + 1)
            past += np.outer(x, x)
            following += np.outer(x, y)
        liked = np.zeros(data.item_count)
        liked[items] = weights
        together = np.outer(liked, liked)
        following += company * (together - np.diag(np.diag(together)))
    return past, following
