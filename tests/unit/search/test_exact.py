"""The exact scorer: scores equal the formula, shares equal the score, and nothing changes them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.search import exact
from llmrec_ray.search.merge import merge
from llmrec_ray.search.segment import Rows, rows_of
from llmrec_ray.types import Metric, Mix, NearQuery, Scope, ScoreQuery, WeightedEvent
from tests.unit.search.conftest import DIM, DIMS, MEAN, tables

MIX = Mix(neighbours=1.0, taste=0.7, text=0.5, prior=0.3, prior_fade=2.0, query=10.0)


def events(weights: list[float], seed: int = 1, count: int = 60) -> tuple[WeightedEvent, ...]:
    items = np.random.default_rng(seed).integers(0, count, len(weights))
    return tuple(
        WeightedEvent(f"e{n}", f"i{item:03}", "click", weight)
        for n, (item, weight) in enumerate(zip(items, weights, strict=True))
    )


def everything(rows: Rows) -> exact.Allowed:
    return lambda scope: np.array([item not in scope.exclude for item in rows.ids])


def query(rows: Rows, history: tuple[WeightedEvent, ...], limit: int = 10) -> ScoreQuery:
    vector = exact.gather(rows, history, MIX)
    return ScoreQuery(history, vector, 0.2, Scope(limit), with_parts=True)


def by_formula(rows: Rows, history: tuple[WeightedEvent, ...]) -> np.ndarray:
    """The score of every row, straight from the definition."""
    text, target = rows.text.astype(np.float64), rows.target.astype(np.float64)
    total = 0.2 * rows.popularity
    for event in history:
        row = rows.row_of[event.item_id]
        total = total + MIX.text * event.weight * (text @ (text[row] - MEAN))
        total = total + MIX.taste * event.weight * (target @ rows.context[row].astype(np.float64))
        targets, weights = rows.neighbours.of(event.item_id)
        np.add.at(total, targets, MIX.neighbours * event.weight * weights)
    return total


def test_scores_and_their_order_follow_the_formula(rows: Callable[..., Rows]) -> None:
    shard, history = rows(), events([1.0, 0.5, -0.7])
    [found] = exact.score(shard, [query(shard, history)], MIX, everything(shard))
    expected = by_formula(shard, history)
    assert [shard.row_of[c.item_id] for c in found] == np.argsort(-expected)[:10].tolist()
    assert [c.score for c in found] == pytest.approx(np.sort(expected)[::-1][:10], abs=1e-8)


weights_of_events = st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=1, max_size=40)


@settings(max_examples=50)
@given(weights=weights_of_events, seed=st.integers(0, 5))
def test_shares_add_up_to_the_score(weights: list[float], seed: int) -> None:
    shard, history = rows_of([tables(60, seed)], MEAN), events(weights, seed)
    [found] = exact.score(shard, [query(shard, history)], MIX, everything(shard))
    targets = np.stack([c.vector for c in found if c.vector is not None])
    through = exact.vector_shares(shard, history, targets, MIX)
    for at, candidate in enumerate(found):
        assert candidate.neighbour_shares is not None
        parts = [*through[:, at], *candidate.neighbour_shares, candidate.prior]
        scale = math.fsum(abs(part) for part in parts)
        assert math.fsum(parts) == pytest.approx(candidate.score, abs=1e-9 * max(scale, 1))


@settings(max_examples=30)
@given(weights=weights_of_events, shards=st.integers(1, 7), order=st.randoms())
def test_the_number_of_shards_and_the_order_of_events_change_no_bit(
    weights: list[float], shards: int, order: "np.random.Generator"
) -> None:
    history = events(weights)
    shuffled = list(history)
    order.shuffle(shuffled)
    whole = tables(60)
    parts = [rows_of([whole.cut(np.arange(60) % shards == n)], MEAN) for n in range(shards)]
    joined = rows_of([whole], MEAN)
    [alone] = exact.score(joined, [query(joined, history)], MIX, everything(joined))
    vector = sum((exact.gather(part, shuffled, MIX) for part in parts), np.zeros(DIMS))
    asked = ScoreQuery(tuple(shuffled), vector, 0.2, Scope(10))
    lists = [exact.score(part, [asked], MIX, everything(part))[0] for part in parts]
    found = merge(lists, 10)
    assert [(c.item_id, c.score) for c in found] == [(c.item_id, c.score) for c in alone]


def test_a_query_scores_the_same_alone_and_in_a_batch(rows: Callable[..., Rows]) -> None:
    shard = rows()
    asked = [query(shard, events([1.0, 0.3], seed)) for seed in range(20)]
    batch = exact.score(shard, asked, MIX, everything(shard))
    alone = [exact.score(shard, [one], MIX, everything(shard))[0] for one in asked]
    assert [[c.score for c in found] for found in batch] == [
        [c.score for c in found] for found in alone
    ]


def test_equal_scores_are_ranked_by_item_id(rows: Callable[..., Rows]) -> None:
    shard = rows()
    nothing = ScoreQuery((), np.zeros(DIMS), 0.0, Scope(5))
    [found] = exact.score(shard, [nothing], MIX, everything(shard))
    assert [c.item_id for c in found] == ["i000", "i001", "i002", "i003", "i004"]


def test_excluded_items_make_room_for_the_next(rows: Callable[..., Rows]) -> None:
    shard, history = rows(), events([1.0])
    [found] = exact.score(shard, [query(shard, history, 11)], MIX, everything(shard))
    scope = Scope(10, exclude=frozenset({found[0].item_id}))
    without = ScoreQuery(history, exact.gather(shard, history, MIX), 0.2, scope)
    [rest] = exact.score(shard, [without], MIX, everything(shard))
    assert [c.item_id for c in rest] == [c.item_id for c in found[1:]]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_near_agrees_with_the_definition(rows: Callable[..., Rows], metric: Metric) -> None:
    shard = rows()
    vector = (np.random.default_rng(3).normal(size=DIM) * 2).astype(np.float32)
    [found] = exact.near(shard, [NearQuery(vector, metric, Scope(8))], everything(shard))
    text, asked = shard.text.astype(np.float64), vector.astype(np.float64)
    expected = {
        "dot": text @ asked,
        "cosine": text @ asked / np.linalg.norm(text, axis=1) / np.linalg.norm(asked),
        "euclidean": -np.linalg.norm(text - asked, axis=1),
    }[metric]
    assert [shard.row_of[c.item_id] for c in found] == np.argsort(-expected)[:8].tolist()
    assert [c.score for c in found] == pytest.approx(np.sort(expected)[::-1][:8], abs=1e-6)


def test_an_item_is_nearest_to_itself_at_distance_zero(rows: Callable[..., Rows]) -> None:
    shard = rows()
    [found] = exact.near(
        shard, [NearQuery(shard.text[7], "euclidean", Scope(1))], everything(shard)
    )
    assert (found[0].item_id, found[0].score) == ("i007", pytest.approx(0.0, abs=1e-3))


def test_segments_joined_equal_one_segment(rows: Callable[..., Rows]) -> None:
    history = events([1.0, -0.5, 0.25])
    one, four = rows(parts=1), rows(parts=4)
    assert (
        exact.score(one, [query(one, history)], MIX, everything(one))[0][0].score
        == exact.score(four, [query(four, history)], MIX, everything(four))[0][0].score
    )
