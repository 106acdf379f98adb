"""Events and items in, everything that the score adds up out: tune, solve, shorten, fill in."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from llmrec_ray.learning.blocks import Spread, here
from llmrec_ray.learning.cold import Features, with_cold
from llmrec_ray.learning.interactions import EventLog, interactions, popularity
from llmrec_ray.learning.moments import moments
from llmrec_ray.learning.next_items import solve
from llmrec_ray.learning.taste import NeighbourList, Taste, missed, taste
from llmrec_ray.learning.tuning import Budget, Knobs, tune
from llmrec_ray.types import Float32s, Float64s


@dataclass(frozen=True, slots=True)
class Content:
    """What items say of themselves, one row an item.

    `text` float32 [items, dim], `tags` with their field's name, `words` of the passage, both read
    once at most, `numbers` float64 [items, fields] in deviations from the mean, NaN where missing.
    """

    text: Float32s
    tags: Iterable[Iterable[str]]
    words: Iterable[Iterable[str]]
    numbers: Float64s


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is kept: dimensions of taste, neighbours an item, users a pair, events ahead."""

    taste_dim: int
    neighbours: int
    min_support: int
    window: int
    cold_ridge: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The knobs that were chosen, and each channel by item code; `taste` None without events."""

    knobs: Knobs
    taste: Taste | None
    neighbours: NeighbourList
    popularity: Float64s


def train(
    log: EventLog,
    content: Content,
    start: Knobs,
    *,
    sizes: Sizes,
    budget: Budget,
    spread: Spread = here,
) -> Trained:
    """Choose the knobs on a validation split, then learn from all events with them."""
    knobs = tune(log, content.text, start, window=sizes.window, budget=budget)
    data = interactions(log, knobs.weights.worth)
    found = moments(
        data,
        recency=knobs.weights.recency,
        window=sizes.window,
        company=knobs.company,
        spread=spread,
    )
    model = solve(found, knobs.ridge)
    if not len(model.codes):
        nothing = np.zeros(0, np.int64)
        return Trained(knobs, None, NeighbourList(nothing, nothing, np.zeros(0)), popularity(data))
    learned = taste(found, model, items=log.item_count, dim=sizes.taste_dim, seed=budget.seed)
    pairs = missed(
        data,
        model,
        learned,
        most=sizes.neighbours,
        min_support=sizes.min_support,
        spread=spread,
    )
    counts = np.bincount(data.items, minlength=data.item_count)
    known = Features(content.text, content.tags, content.words, content.numbers)
    return Trained(
        knobs, with_cold(learned, counts, known, sizes.cold_ridge), pairs, popularity(data)
    )
