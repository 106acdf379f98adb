"""Metrics: hand-computed values, and agreement with a plain reading of their definitions."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray import metrics

RANKED = np.array([[3, 1, 4], [0, 2, -1]], dtype=np.int64)
TARGETS = [np.array([1, 4, 5, 6], dtype=np.int64), np.array([7], dtype=np.int64)]
HIT = metrics.hits(RANKED, TARGETS)
WANTED = metrics.sizes(TARGETS)


def test_hits_mark_wanted_items_and_never_the_padding() -> None:
    assert HIT.tolist() == [[False, True, True], [False, False, False]]


def test_ndcg_cuts_the_ideal_list_at_the_smaller_of_targets_and_k() -> None:
    gained = 1 / math.log2(3) + 1 / math.log2(4)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert metrics.ndcg(HIT, WANTED, 3).tolist() == pytest.approx([gained / ideal, 0])
    of_ten = ideal + 1 / math.log2(5)
    assert metrics.ndcg(HIT, WANTED, 10).tolist() == pytest.approx([gained / of_ten, 0])


def test_recall_divides_by_all_that_was_wanted() -> None:
    assert metrics.recall(HIT, WANTED, 3).tolist() == [0.5, 0]
    assert metrics.recall(HIT, WANTED, 2).tolist() == [0.25, 0]


def test_hit_rate_and_reciprocal_rank_look_at_the_first_hit() -> None:
    assert metrics.hit_rate(HIT, 3).tolist() == [1, 0]
    assert metrics.reciprocal_rank(HIT, 3).tolist() == [0.5, 0]
    assert metrics.reciprocal_rank(HIT, 1).tolist() == [0, 0]


@given(st.integers(1, 12), st.integers(1, 15), st.randoms(use_true_random=False))
def test_every_accuracy_measure_is_what_its_definition_says(k: int, size: int, random) -> None:
    ranked = random.sample(range(40), 12)
    wanted = random.sample(range(40), size)
    hit = metrics.hits(np.array([ranked]), [np.array(wanted)])
    count = np.array([size])
    places = [place for place, code in enumerate(ranked[:k], start=1) if code in wanted]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(size, k) + 1))
    gained = sum(1 / math.log2(place + 1) for place in places)
    assert metrics.ndcg(hit, count, k)[0] == pytest.approx(gained / ideal)
    assert metrics.recall(hit, count, k)[0] == pytest.approx(len(places) / size)
    assert metrics.hit_rate(hit, k)[0] == bool(places)
    assert metrics.reciprocal_rank(hit, k)[0] == pytest.approx(1 / places[0] if places else 0)


def test_coverage_is_the_share_of_items_that_anybody_sees() -> None:
    assert metrics.coverage(RANKED, 10) == 0.5


def test_gini_is_zero_when_all_are_shown_alike_and_grows_when_one_takes_all() -> None:
    items = np.arange(4)
    assert metrics.gini(np.array([[0, 1], [2, 3]]), items) == pytest.approx(0)
    assert metrics.gini(np.array([[2], [2]]), items) == pytest.approx(3 / 4)


def test_gini_counts_the_items_asked_for_alone() -> None:
    assert metrics.gini(np.array([[1], [3]]), np.array([1, 3])) == pytest.approx(0)


def test_novelty_is_the_mean_surprise_of_what_is_shown() -> None:
    users_of = np.array([7, 0])
    assert metrics.novelty(np.array([[0, 1]]), users_of, 7) == pytest.approx((0 + 3) / 2)


def test_diversity_is_the_mean_distance_between_the_pairs_of_a_list() -> None:
    vectors = sp.csr_matrix(np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]]))
    ranked = np.array([[0, 1, 3], [0, 2, -1], [3, -1, -1]])
    pairs = (1 - 0) + (1 - 0.6) + (1 - 0.8)
    assert metrics.diversity(ranked, vectors).tolist() == pytest.approx([pairs / 3, 0, 0])


def test_a_list_with_the_mix_of_the_history_is_calibrated() -> None:
    features = np.array([[1.0, 0], [0, 1.0]])
    history = [np.array([0, 1]), np.array([0])]
    same, other = metrics.miscalibration(np.array([[1, 0], [1, -1]]), history, features)
    assert same == pytest.approx(0)
    assert other == pytest.approx(math.log(1 / metrics.SMOOTHING))


def test_popularity_lift_compares_lists_with_histories() -> None:
    users_of = np.array([10, 30])
    assert metrics.popularity_lift(np.array([[1]]), [np.array([0])], users_of) == pytest.approx(2)


def test_askers_without_history_have_no_popularity_lift() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert metrics.popularity_lift(np.array([[1]]), [nothing], np.array([10, 30])) == 0
