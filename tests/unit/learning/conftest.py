"""Planted tastes: users of a few groups, who like the items of their group one after another."""

import numpy as np
import pytest

from llmrec_ray.learning.interactions import EventLog

GROUPS, ITEMS_OF_A_GROUP = 4, 10
ITEMS = GROUPS * ITEMS_OF_A_GROUP


@pytest.fixture
def planted() -> EventLog:
    """200 users, 8 likes each among the 10 items of one of 4 groups; item i follows i - 1 often."""
    random = np.random.default_rng(5)
    histories = []
    for user in range(200):
        group, first = user % GROUPS, random.integers(ITEMS_OF_A_GROUP)
        items = (first + np.arange(8)) % ITEMS_OF_A_GROUP
        swapped = random.integers(7)
        items[[swapped, swapped + 1]] = items[[swapped + 1, swapped]]
        histories.append(group * ITEMS_OF_A_GROUP + items)
    return log_of(histories, ITEMS)


def log_of(histories: "list[np.ndarray] | list[list[int]]", items: int) -> EventLog:
    """A like for each item of each history, oldest first."""
    sizes = [len(history) for history in histories]
    return EventLog(
        np.repeat(np.arange(len(histories)), sizes),
        np.array([item for history in histories for item in history], np.int64),
        np.zeros(sum(sizes), np.int64),
        (("like", None),),
        len(histories),
        items,
    )
