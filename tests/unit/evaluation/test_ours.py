"""Our system under evaluation: what is ranked is what the scorer online would answer."""

import numpy as np
import pytest

from llmrec_ray.evaluation.data import Ask, Data, Ranker
from llmrec_ray.evaluation.ours import Ours
from llmrec_ray.evaluation.splits import split
from llmrec_ray.settings import LearningSettings
from tests.support.evaluating import ALL, ITEMS, past_of, small_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return small_data(tmp_path_factory.mktemp("catalog"))


@pytest.fixture(scope="module")
def ranker(data: Data) -> Ranker:
    return Ours(LearningSettings()).fit(data.catalog, split(data, "loo", 13).train)


def ask(data: Data, codes: list[int]) -> Ask:
    past = past_of(data, codes)
    return Ask(past, np.array([ITEMS - 1]), np.unique(past.codes))


def test_a_history_pulls_towards_its_taste(data: Data, ranker: Ranker) -> None:
    love = ranker.rank([ask(data, [1, 3, 5, 7])], ALL, 5)[0]
    war = ranker.rank([ask(data, [0, 2, 4, 6])], ALL, 5)[0]
    assert (love % 2).mean() > 0.5 > (war % 2).mean()


def test_what_was_had_and_what_is_not_allowed_is_never_ranked(data: Data, ranker: Ranker) -> None:
    ranked = ranker.rank([ask(data, [0, 1]), ask(data, [])], np.arange(ITEMS) < 5, 6)
    assert sorted(ranked[0].tolist()) == [-1, -1, -1, 2, 3, 4]
    assert sorted(ranked[1].tolist()) == [-1, 0, 1, 2, 3, 4]


def test_a_user_without_history_gets_the_popular_items(data: Data, ranker: Ranker) -> None:
    train = split(data, "loo", 13).train
    counts = np.bincount(np.concatenate([np.unique(p.codes) for p in train]), minlength=ITEMS)
    ranked = ranker.rank([ask(data, [])], ALL, 3)[0]
    assert counts[ranked[0]] == counts.max()


def test_many_asks_are_ranked_as_each_alone(data: Data, ranker: Ranker) -> None:
    asks = [ask(data, [code]) for code in range(ITEMS)] * 3
    together = ranker.rank(asks, ALL, 5)
    assert together[:ITEMS].tolist() == together[-ITEMS:].tolist()
    assert together[7].tolist() == ranker.rank([asks[7]], ALL, 5)[0].tolist()
