"""Moments: what their definition says, whatever the blocks, and bounded where items are many."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from llmrec_ray.learning.blocks import blocks_of
from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.learning.moments import indexed, largest, moments, rows_of
from tests.support.interacting import defined_moments, random_interactions

ITEMS = 30


@pytest.fixture
def data() -> Interactions:
    return random_interactions(users=60, items=ITEMS, mean=6, seed=1)


@pytest.mark.parametrize(("recency", "window"), [(0.8, 3), (0.8, 10), (1.0, 3)])
def test_moments_are_sums_over_every_position_of_every_user(
    data: Interactions, recency: float, window: int
) -> None:
    past, following = defined_moments(data, recency, window, 0.3)
    found = moments(data, recency=recency, window=window, company=0.3)
    assert np.allclose(found.past.toarray(), past, rtol=1e-4, atol=1e-3 * past.mean())
    assert np.allclose(found.next.toarray(), following, rtol=1e-4, atol=1e-3 * following.mean())


@pytest.mark.parametrize("cuts", [[0, ITEMS], [0, 1, 2, 17, ITEMS], list(range(ITEMS + 1))])
def test_blocks_change_no_bit_of_the_moments(data: Interactions, cuts: list[int]) -> None:
    whole = moments(data, recency=0.85, window=10, company=0.3)
    common = indexed(data, recency=0.85, window=10, company=0.3)
    parts = [rows_of(common, block) for block in pairwise(cuts)]
    past = np.concatenate([part.past.toarray() for part in parts])
    following = np.concatenate([part.next.toarray() for part in parts])
    assert np.array_equal(past, whole.past.toarray())
    assert np.array_equal(following, whole.next.toarray())


def test_outside_the_head_a_source_keeps_its_largest_pairs(data: Interactions) -> None:
    common = indexed(data, recency=0.85, window=10, company=0.3)
    full = rows_of(common, (0, ITEMS))
    head = np.arange(ITEMS) < 5
    few = rows_of(replace(common, head=head, most=3, most_of_head=9), (0, ITEMS))
    assert np.array_equal(few.past.toarray()[:5, :5], full.past.toarray()[:5, :5])
    assert not few.past.toarray()[:5, 5:].any()
    for kept, before in ((few.past, full.past), (few.next, full.next)):
        for row, whole in zip(kept.toarray()[5:], before.toarray()[5:], strict=True):
            assert np.count_nonzero(row) <= 3
            assert np.sort(row)[-3:].tolist() == np.sort(whole)[-3:].tolist()
    for row, whole in zip(few.next.toarray()[:5], full.next.toarray()[:5], strict=True):
        assert np.count_nonzero(row) == 9
        assert np.sort(row)[-9:].tolist() == np.sort(whole)[-9:].tolist()


def test_the_largest_are_the_first_of_equal_ones() -> None:
    values = np.array([1.0, 3.0, 2.0, 2.0, 2.0], np.float32)
    assert np.flatnonzero(largest(values, 3)).tolist() == [1, 2, 3]
    assert np.flatnonzero(largest(values, 0)).tolist() == []
    assert np.flatnonzero(largest(values, 9)).tolist() == [0, 1, 2, 3, 4]


def test_a_log_without_interactions_has_empty_moments() -> None:
    nothing = np.zeros(0, np.int64)
    found = moments(
        Interactions(nothing, nothing, np.zeros(0), 0, 4), recency=0.85, window=10, company=0.3
    )
    assert found.past.shape == found.next.shape == (4, 4)
    assert found.past.nnz == found.next.nnz == 0


def test_blocks_cover_every_place_once_and_keep_to_their_cost() -> None:
    costs = np.array([1.0, 1.0, 5.0, 0.0, 1.0, 1.0, 1.0])
    blocks = blocks_of(costs, 3.0)
    assert [place for start, stop in blocks for place in range(start, stop)] == list(range(7))
    assert all(costs[start:stop].sum() <= 3.0 or stop == start + 1 for start, stop in blocks)
