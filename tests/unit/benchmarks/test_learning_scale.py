"""`python -m benchmarks.learning_scale`: what it plants, holds out, scores, and reports."""

from typing import Any

import numpy as np
import pytest

from benchmarks.learning_scale import item_knn, ours, quality, ratios, trained
from benchmarks.meter import Meter
from benchmarks.planted import Size, held_out, planted
from llmrec_ray.learning.blocks import here
from llmrec_ray.settings import LearningSettings

SMALL = Size(items=800, users=600, events=12_000)


def run(events: int, seconds: float, *, scored: bool) -> dict[str, Any]:
    return {
        "items": events // 10,
        "events": events,
        "cpu_seconds": seconds,
        "peak_gib": seconds / 10,
        "stages": {"moments": {"cpu_seconds": seconds}},
        "ndcg@10": {"llmrec": 0.3, "item-knn": 0.2} if scored else {},
    }


def test_planted_events_are_of_the_size_and_skewed() -> None:
    log = planted(SMALL, seed=1)
    assert log.user_count == 600
    assert (np.diff(log.users) >= 0).all()
    assert len(log.users) == pytest.approx(SMALL.events, rel=0.05)
    counts = np.sort(np.bincount(log.items, minlength=SMALL.items))[::-1]
    assert counts[:80].sum() > 0.4 * counts.sum()
    assert (planted(SMALL, seed=1).items == log.items).all()


def test_held_out_items_are_new_to_their_users() -> None:
    log = planted(SMALL, seed=1)
    held = held_out(log, 200, seed=1)
    assert len(held.log.users) == len(log.users) - len(held.users)
    for user, item in zip(held.users, held.wanted, strict=True):
        assert item not in held.log.items[held.log.users == user]


def test_a_ranking_with_the_wanted_item_first_is_best() -> None:
    held = held_out(planted(SMALL, seed=1), 50, seed=1)
    scores = np.zeros((len(held.users), SMALL.items))
    scores[np.arange(len(held.users)), held.wanted] = 1.0
    assert quality(scores, held) == 1.0
    assert quality(-scores, held) == 0.0


def test_planted_tastes_are_found() -> None:
    size = Size(items=3_000, users=1_000, events=20_000)
    held = held_out(planted(size, seed=1), 300, seed=1)
    text = np.eye(size.items, 8, dtype=np.float32)
    meter = Meter()
    model = trained(held.log, text, LearningSettings(taste_dim=16), meter, here)
    popular = np.tile(model.popularity, (len(held.users), 1))
    assert quality(ours(model, held), held) > 1.5 * quality(popular, held)
    assert quality(item_knn(held), held) > 0
    assert set(meter.stages) >= {"interactions", "moments", "solve", "taste", "neighbours"}
    assert all(stage.peak_gib > 0 for stage in meter.stages.values())


def test_ratios_are_those_of_the_largest_to_the_smallest() -> None:
    found = ratios([run(1_000, 2.0, scored=True), run(10_000, 30.0, scored=False)])
    assert found == {
        "events_growth": 10.0,
        "items_growth": 10.0,
        "cpu_growth": 15.0,
        "memory_growth": 15.0,
        "ndcg10_vs_item_knn_100_items": pytest.approx(1.5),
    }
