"""The scale benchmark's figures: what counts as found, and how shards add up."""

import numpy as np

from benchmarks.scale_steps import _percentiles, recall


def test_an_answer_counts_only_with_its_very_score() -> None:
    truth = [[("a", 1.0), ("b", 0.5)], [("c", 0.25), ("d", 0.125)]]
    found = [[("b", 0.5), ("a", 1.5)], [("d", 0.125), ("c", 0.25)], [("e", 1.0)]]
    assert recall(truth, found) == 3 / 4


def test_shards_take_their_sum_in_turn_and_the_slowest_at_once() -> None:
    times = _percentiles(np.array([[0.001, 0.003], [0.001, 0.003]]))
    assert (times["p50_ms"], times["slowest_p99_ms"]) == (4.0, 3.0)
