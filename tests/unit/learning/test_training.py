"""From events to channels: what is learned, what cold items get, and inputs that are hardly any."""

import numpy as np
import pytest

from llmrec_ray.learning.cold import Features, with_cold
from llmrec_ray.learning.interactions import EventLog, interactions
from llmrec_ray.learning.moments import moments
from llmrec_ray.learning.next_items import solve
from llmrec_ray.learning.taste import Taste, missed, taste
from llmrec_ray.learning.train import Content, Sizes, Trained, train
from llmrec_ray.learning.tuning import Budget, Knobs, tune
from llmrec_ray.learning.validation import split
from llmrec_ray.types import EventWeights, Mix
from tests.unit.learning.conftest import ITEMS, log_of
from tests.unit.learning.test_next_items import whole

WEIGHTS = EventWeights({"like": 1.0}, recency=0.8, value_share=0.0)
START = Knobs(WEIGHTS, Mix(1.0, 1.0, 0.1, 0.1, 2.0, 6.0), ridge=2.0, company=0.3)
SIZES = Sizes(taste_dim=8, neighbours=5, min_support=1, window=5, cold_ridge=1.0)
NOTHING = Budget(maps=0, mixes=0, asks=200, seed=1)


def content(items: int, groups: int = 4) -> Content:
    """Text at random; the items of a group share a tag."""
    text = np.random.default_rng(2).normal(size=(items, 6)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    tags = [[f"group:{item * groups // items}"] for item in range(items)]
    numbers = np.full((items, 1), np.nan)
    return Content(text, tags, [["word"]] * items, numbers)


def trained(log: EventLog) -> Trained:
    return train(log, content(log.item_count), START, sizes=SIZES, budget=NOTHING)


def test_short_vectors_of_full_rank_are_the_whole_map(planted: EventLog) -> None:
    data = interactions(planted, WEIGHTS.worth)
    found = moments(data, recency=0.8, window=5, company=0.3)
    model = solve(found, 2.0)
    learned = taste(found, model, items=ITEMS, dim=ITEMS, seed=1)
    product = learned.context @ learned.target.T
    expected = whole(model)
    assert np.allclose(product[np.ix_(model.codes, model.codes)], expected, atol=1e-4)


def test_neighbours_are_what_the_short_vectors_miss(planted: EventLog) -> None:
    data = interactions(planted, WEIGHTS.worth)
    found = moments(data, recency=0.8, window=5, company=0.3)
    model = solve(found, 2.0)
    learned = taste(found, model, items=ITEMS, dim=3, seed=1)
    pairs = missed(data, model, learned, most=5, min_support=1)
    left = whole(model) - (learned.context @ learned.target.T)[np.ix_(model.codes, model.codes)]
    place = {int(code): at for at, code in enumerate(model.codes)}
    for source, target, weight in zip(pairs.sources, pairs.targets, pairs.weights, strict=True):
        assert source != target
        assert weight == pytest.approx(left[place[int(source)], place[int(target)]], abs=1e-5)
    assert np.bincount(pairs.sources).max() <= 5


def test_a_pair_that_too_few_users_share_is_no_neighbour() -> None:
    log = log_of([[0, 1], [0, 1], [0, 2]], 3)
    data = interactions(log, WEIGHTS.worth)
    found = moments(data, recency=0.8, window=5, company=0.3)
    model = solve(found, 1.0)
    none = Taste(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))
    pairs = missed(data, model, none, most=5, min_support=2)
    assert {(int(s), int(t)) for s, t in zip(pairs.sources, pairs.targets, strict=True)} <= {
        (0, 1),
        (1, 0),
    }


def test_a_cold_item_gets_the_taste_of_those_that_share_its_tag(planted: EventLog) -> None:
    kept = planted.items != 15
    learned = trained(planted.of(kept)).taste
    assert learned is not None
    likeness = learned.target @ learned.target[15]
    likeness[15] = -np.inf
    assert {int(item) // 10 for item in np.argsort(-likeness)[:5]} == {1}


def test_items_with_events_keep_what_was_learned() -> None:
    learned = Taste(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
    given = content(3, groups=1)
    known = Features(given.text, given.tags, given.words, given.numbers)
    filled = with_cold(learned, np.array([2, 1, 0]), known, ridge=1.0)
    assert np.array_equal(filled.target[:2], learned.target[:2])
    assert np.isfinite(filled.target).all()


@pytest.mark.parametrize(
    "histories",
    [
        [],
        [[3]],
        [[0, 1, 2, 3]],
        [[2], [2], [2]],
        [[0, 1]] * 80,
        [[5, 5, 5, 5]] * 60,
    ],
    ids=["no events", "one event", "one user", "one item", "all users alike", "duplicates"],
)
def test_hardly_any_events_make_finite_channels(histories: list[list[int]]) -> None:
    log = log_of(histories, 6)
    made = train(
        log,
        content(6, groups=2),
        START,
        sizes=SIZES,
        budget=Budget(maps=2, mixes=2, asks=50, seed=1),
    )
    mix = made.knobs.mix
    assert np.isfinite([mix.text, mix.prior, mix.prior_fade, mix.query]).all()
    assert np.isfinite(made.popularity).all()
    assert np.isfinite(made.neighbours.weights).all()
    if made.taste is not None:
        assert np.isfinite(made.taste.context).all()
        assert np.isfinite(made.taste.target).all()


def test_nothing_that_is_asked_for_is_learned_from(planted: EventLog) -> None:
    data = split(planted, WEIGHTS, most_asks=500, seed=3)
    assert len(data.training.users) < len(planted.users)
    known = data.asks.histories
    pasts = [known.items[known.users == ask] for ask in range(len(data.asks))]
    for past, wanted in zip(pasts, data.asks.wanted, strict=True):
        assert not set(past.tolist()) & set(wanted.tolist())
    kept = np.bincount(data.training.users, minlength=planted.user_count)
    whole = np.bincount(planted.users)
    assert (kept < whole).all()


def test_tuning_is_repeatable_and_no_worse_than_its_start(planted: EventLog) -> None:
    budget = Budget(maps=4, mixes=8, asks=200, seed=7)
    text = content(ITEMS).text
    first, again = (tune(planted, text, START, window=5, budget=budget) for _ in range(2))
    assert first == again
    alone = tune(planted, text, START, window=5, budget=Budget(maps=1, mixes=1, asks=200, seed=7))
    assert first.ndcg is not None
    assert alone.ndcg is not None
    assert first.ndcg >= alone.ndcg


def test_too_few_users_to_tell_leave_the_start(planted: EventLog) -> None:
    few = planted.of(planted.users < 20)
    budget = Budget(maps=4, mixes=4, asks=200, seed=7)
    kept = tune(few, content(ITEMS).text, START, window=5, budget=budget)
    assert (kept.weights, kept.ridge, kept.ndcg) == (START.weights, START.ridge, None)
