"""Intervals and tests: by user, paired, and the same for a seed."""

import numpy as np
import pytest

from llmrec_ray.evaluation.compare import by_user, interval, numbered, paired, resampled


def test_a_user_with_many_asks_counts_once() -> None:
    values = np.array([[1.0], [0.0], [4.0]])
    assert by_user(values, numbered(["b", "b", "a"])).tolist() == [[4.0], [0.5]]


def test_the_interval_of_a_mean_is_near_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(size=(400, 1))
    found = interval(float(values.mean()), resampled(values, 2_000, seed=1)[:, 0])
    half = 1.96 * float(values.std()) / 20
    assert found.low == pytest.approx(found.mean - half, abs=0.2 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.2 * half)


def test_a_small_difference_that_all_users_share_is_certain() -> None:
    rng = np.random.default_rng(5)
    peer = rng.uniform(size=200)
    values = np.stack([peer + 0.01, peer], axis=1)
    found = paired(values, resampled(values, 500, seed=1), ours=0, peer=1)
    assert found.difference.low == pytest.approx(0.01)
    assert found.relative == pytest.approx(0.01 / peer.mean())
    assert found.relative_low == pytest.approx(found.relative)
    assert found.p == 1 / 500


def test_a_system_against_itself_shows_no_difference() -> None:
    values = np.random.default_rng(5).uniform(size=(50, 1)).repeat(2, axis=1)
    found = paired(values, resampled(values, 500, seed=1), ours=0, peer=1)
    assert (found.difference.mean, found.p) == (0, 1)


def test_a_peer_that_never_hits_has_no_relative_difference() -> None:
    values = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert paired(values, resampled(values, 100, seed=1), ours=0, peer=1).relative is None


def test_the_same_seed_draws_the_same_users() -> None:
    values = np.random.default_rng(5).uniform(size=(50, 2))
    assert np.array_equal(resampled(values, 150, seed=7), resampled(values, 150, seed=7))
    assert not np.array_equal(resampled(values, 150, seed=7), resampled(values, 150, seed=8))
