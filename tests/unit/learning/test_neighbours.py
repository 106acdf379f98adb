"""Neighbours: what goes together, what follows what, and how few users count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.learning.interactions import interactions
from llmrec_ray.learning.neighbours import NeighbourSettings, neighbours, popularity

DEFAULT = NeighbourSettings(most=3, min_support=1, shrinkage=1.0, window=2, transition_share=0.5)


def together(
    histories: list[list[int]], items: int, how: NeighbourSettings = DEFAULT
) -> np.ndarray:
    """N as a dense matrix [items, items]."""
    data = interactions([[(item, 1.0) for item in history] for history in histories], items)
    found = neighbours(data, how)
    matrix = np.zeros((items, items))
    matrix[found.sources, found.targets] = found.weights
    return matrix


def test_weights_follow_the_formula() -> None:
    matrix = together([[0, 1], [0, 1], [0, 2]], 3)
    cosine = 2 / (np.sqrt(3) * np.sqrt(2) + 1)
    transition = 2 / (3 + 1)
    assert matrix[0, 1] == pytest.approx(0.5 * cosine + 0.5 * transition)
    assert matrix[1, 0] == pytest.approx(0.5 * cosine)


def test_a_pair_seen_by_too_few_users_is_left_out() -> None:
    how = NeighbourSettings(3, 2, 1.0, 2, 0.5)
    matrix = together([[0, 1], [0, 1], [0, 2]], 3, how)
    assert matrix[0, 1] > 0
    assert matrix[0, 2] == 0


def test_only_the_largest_neighbours_stay() -> None:
    how = NeighbourSettings(1, 1, 1.0, 0, 0.0)
    matrix = together([[0, 1], [0, 1], [0, 2]], 3, how)
    assert (matrix[0] > 0).tolist() == [False, True, False]


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 7), max_size=12), max_size=8))
def test_no_item_is_its_own_neighbour_and_all_weights_are_finite(
    histories: list[list[int]],
) -> None:
    matrix = together(histories, 8)
    assert np.isfinite(matrix).all()
    assert (matrix >= 0).all()
    assert not matrix.diagonal().any()


def test_no_events_give_no_neighbours_and_no_popularity() -> None:
    data = interactions([], 4)
    assert len(neighbours(data, DEFAULT).sources) == 0
    assert popularity(data).tolist() == [0, 0, 0, 0]


def test_disliked_items_are_no_interactions() -> None:
    data = interactions([[(0, 1.0), (1, -1.0), (0, -2.0)]], 2)
    assert len(data.items) == 0


def test_popularity_is_one_at_the_most_liked() -> None:
    data = interactions([[(0, 1.0), (1, 1.0)], [(0, 1.0)]], 3)
    assert popularity(data).tolist() == pytest.approx([1.0, np.log(2) / np.log(3), 0.0])
