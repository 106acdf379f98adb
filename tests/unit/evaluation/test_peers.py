"""Peers: each ranks as its formula says, on data small enough to work out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from llmrec_ray.evaluation.als import Als
from llmrec_ray.evaluation.data import Ask, Data, Past, System, pasts_of
from llmrec_ray.evaluation.peers import (
    EASE_ITEMS,
    Ease,
    ItemKnn,
    Popularity,
    Text,
    Transitions,
    cosines,
    follows,
    peers_of,
)
from llmrec_ray.evaluation.ranking import taken, top
from llmrec_ray.evaluation.splits import split
from tests.support.evaluating import ALL, ITEMS, likes, past_of, small_data

SYSTEMS: list[System] = [Popularity(), ItemKnn(), Transitions(), Ease(), Text(), Text(encoder=True)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return small_data(tmp_path_factory.mktemp("catalog"))


def trained(data: Data, *histories: list[int]) -> tuple[Past, ...]:
    users = {f"u{n}": codes for n, codes in enumerate(histories)}
    return pasts_of(likes(users, data.catalog.ids), data.catalog.ids)


def ask(data: Data, codes: list[int]) -> Ask:
    past = past_of(data, codes)
    return Ask(past, np.array([ITEMS - 1]), np.unique(past.codes))


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_what_was_had_and_what_is_not_allowed_is_never_ranked(data: Data, system: System) -> None:
    ranker = system.fit(data.catalog, trained(data, [0, 1, 2], [1, 2, 3], [0, 3, 4]))
    allowed = np.arange(ITEMS) < 8
    ranked = ranker.rank([ask(data, [0, 1]), ask(data, [])], allowed, 10)
    assert sorted(ranked[0].tolist()) == [-1, -1, -1, -1, 2, 3, 4, 5, 6, 7]
    assert sorted(ranked[1].tolist()) == [-1, -1, *range(8)]
    assert ranked[0, 6:].tolist() == [-1] * 4


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_a_batch_ranks_as_one_ask_alone(data: Data, system: System) -> None:
    ranker = system.fit(data.catalog, split(data, "loo", 13).train)
    asks = [ask(data, codes) for codes in ([3], [4, 8, 5], [], [20, 21])]
    together = ranker.rank(asks, ALL, 5)
    if isinstance(system, Text) and system.encoder:
        return  # adds standardised scores, whose last bits depend on the batch
    alone = np.concatenate([ranker.rank([one], ALL, 5) for one in asks])
    assert together.tolist() == alone.tolist()


def test_popularity_ranks_by_users(data: Data) -> None:
    ranker = Popularity().fit(data.catalog, trained(data, [4, 2, 4], [4], [2, 7], [2]))
    assert ranker.rank([ask(data, [])], ALL, 3)[0].tolist() == [2, 4, 7]


def test_cosines_are_shrunk_and_cut(data: Data) -> None:
    train = trained(data, [0, 1], [0, 1], [0, 2])
    near = cosines(taken(train, ITEMS), most=1, shrinkage=2.0).toarray()
    assert near[0, 1] == pytest.approx(2 / (np.sqrt(3 * 2) + 2))
    assert near[0, 2] == 0
    assert near[2, 0] == pytest.approx(1 / (np.sqrt(3) + 2))


def test_transitions_are_directed_and_weigh_by_distance(data: Data) -> None:
    train = trained(data, [0, 1, 2], [3, 0])
    found = follows(train, ITEMS, window=10, shrinkage=1.0).toarray()
    assert found[0, 1] == pytest.approx(1 / (2 + 1))
    assert found[0, 2] == pytest.approx(0.5 / 3)
    assert found[1, 0] == 0
    assert found[2, 3] == 0  # the next user's history is another one


def test_the_newest_event_pulls_most(data: Data) -> None:
    ranker = ItemKnn().fit(data.catalog, trained(data, [0, 10], [0, 10], [1, 11], [1, 11]))
    assert ranker.rank([ask(data, [0, 1]), ask(data, [1, 0])], ALL, 1)[:, 0].tolist() == [11, 10]


def test_ease_solves_its_least_squares_problem(data: Data) -> None:
    train = trained(data, [0, 1, 2], [0, 1], [2, 3], [0, 2, 3])
    seen = taken(train, ITEMS).toarray()
    ranker = Ease(l2=2.0, recency=1.0).fit(data.catalog, train)
    had = [0, 1]
    weights = np.zeros(ITEMS)
    for target in range(ITEMS):  # each item on its own: ridge regression on all the others
        others = [item for item in range(ITEMS) if item != target]
        gram = seen[:, others].T @ seen[:, others] + 2.0 * np.eye(ITEMS - 1)
        solved = np.linalg.solve(gram, seen[:, others].T @ seen[:, target])
        weights[target] = sum(solved[others.index(item)] for item in had if item != target)
    best = [code for code in np.argsort(-weights).tolist() if code not in had][:2]
    assert ranker.rank([ask(data, had)], ALL, 2)[0].tolist() == best


def test_text_ranks_what_is_like_the_history(data: Data) -> None:
    for system in (Text(), Text(encoder=True)):
        ranker = system.fit(data.catalog, trained(data, [0, 1]))
        ranked = ranker.rank([ask(data, [1, 3, 5])], ALL, 10)[0]
        assert all(code % 2 for code in ranked.tolist()), system.name


def test_items_without_any_score_are_ranked_by_popularity(data: Data) -> None:
    ranker = ItemKnn().fit(data.catalog, trained(data, [7, 8], [8]))
    assert ranker.rank([ask(data, [20])], ALL, 2)[0].tolist() == [8, 7]


def test_top_pads_and_never_ranks_what_is_masked() -> None:
    scores = np.array([[0.5, -np.inf, 0.9]])
    assert top(scores, 4).tolist() == [[2, 0, -1, -1]]


def test_ials_learns_the_two_tastes(data: Data) -> None:
    pytest.importorskip("implicit", reason="the peer iALS needs: pip install implicit")
    rng = np.random.default_rng(0)
    users = [(2 * rng.permutation(15)[:8] + taste).tolist() for taste in (0, 1) for _ in range(30)]
    ranker = Als(factors=4).fit(data.catalog, trained(data, *users))
    ranked = ranker.rank([ask(data, [0, 2, 4]), ask(data, [1, 3, 5])], ALL, 5)
    assert (ranked % 2).tolist() == [[0] * 5, [1] * 5]


def test_a_peer_that_cannot_run_is_left_out_with_the_reason() -> None:
    peers, left_out = peers_of("warm", EASE_ITEMS + 1)
    assert "ease" not in {peer.name for peer in peers}
    assert str(EASE_ITEMS) in left_out["ease"]


def test_for_cold_items_the_peers_read_text() -> None:
    peers, _ = peers_of("cold-items", 10)
    assert [peer.name for peer in peers] == ["popularity", "tf-idf", "text"]


def test_repeated_items_count_once_as_taken(data: Data) -> None:
    assert taken(trained(data, [3, 3, 3]), ITEMS).toarray()[0, 3] == 1


def test_a_catalogue_without_words_in_common_has_no_text_scores(data: Data) -> None:
    catalog = replace(data.catalog, texts=tuple(f"word{n}" for n in range(ITEMS)))
    ranked = Text().fit(catalog, trained(data, [4])).rank([ask(data, [1])], ALL, 1)
    assert ranked.tolist() == [[4]]
