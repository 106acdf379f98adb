"""Neighbours: the largest errors of the vectors among pairs that users liked together."""

import numpy as np
import pytest

from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.learning.moments import moments
from llmrec_ray.learning.next_items import NextItems, solve
from llmrec_ray.learning.taste import NeighbourList, missed, taste
from tests.support.interacting import random_interactions

ITEMS = 25


@pytest.fixture(scope="module")
def data() -> Interactions:
    return random_interactions(users=80, items=ITEMS, mean=5, seed=2)


@pytest.fixture(scope="module", params=[4096, 6], ids=["all in the head", "a small head"])
def model(data: Interactions, request: pytest.FixtureRequest) -> NextItems:
    return solve(moments(data, recency=0.85, window=10, company=0.3), 3.0, most=request.param)


def listed(data: Interactions, model: NextItems, most: int, min_support: int) -> NeighbourList:
    found = moments(data, recency=0.85, window=10, company=0.3)
    learned = taste(found, model, items=ITEMS, dim=4, seed=1)
    return missed(data, model, learned, most=most, min_support=min_support)


def test_neighbours_are_the_largest_errors_of_each_source(
    data: Interactions, model: NextItems
) -> None:
    learned = taste(
        moments(data, recency=0.85, window=10, company=0.3), model, items=ITEMS, dim=4, seed=1
    )
    dense = np.zeros((ITEMS, ITEMS))
    dense[np.ix_(model.codes, model.codes)] = model.dot(np.eye(len(model.codes), dtype=np.float32))
    left = dense - learned.context @ learned.target.T
    liked = np.zeros((data.user_count, ITEMS))
    liked[data.users, data.items] = 1
    left[liked.T @ liked < 2] = 0
    np.fill_diagonal(left, 0)
    found = listed(data, model, most=3, min_support=2)
    for source in range(ITEMS):
        own = found.sources == source
        best = np.argsort(-np.abs(left[source]), kind="stable")[:3]
        best = best[left[source, best] != 0]
        assert found.targets[own].tolist() == best.tolist()
        assert np.allclose(found.weights[own], left[source, best], atol=1e-6)


def test_an_entry_of_the_map_is_that_of_the_whole_map(model: NextItems) -> None:
    dense = model.dot(np.eye(len(model.codes), dtype=np.float32))
    targets = np.array([0, 3, len(model.codes) - 1])
    for source in range(len(model.codes)):
        assert np.allclose(model.row(source, targets), dense[source, targets], atol=1e-6)


def test_a_map_that_float32_cannot_solve_is_solved_in_float64() -> None:
    """A history that never fades makes moments of users alike nearly the same for every item."""
    users, items = 400, 40
    everyone = Interactions(
        np.repeat(np.arange(users), items),
        np.tile(np.arange(items), users),
        np.full(users * items, 1e3),
        users,
        items,
    )
    model = solve(moments(everyone, recency=1.0, window=3, company=0.3), 1e-9)
    assert np.isfinite(model.head).all()
