"""The map from a history to what comes next, against the textbook solution."""

import numpy as np
import pytest
import scipy.sparse as sp

from llmrec_ray.learning.interactions import EventLog, interactions
from llmrec_ray.learning.moments import Moments, moments
from llmrec_ray.learning.next_items import NextItems, solve
from llmrec_ray.types import EventWeights

WEIGHTS = EventWeights({"like": 1.0})


def dense(found: Moments, ridge: float) -> np.ndarray:
    """(X + λ I)⁻¹ Y over all items, in float64."""
    past, following = found.past.toarray(), found.next.toarray()
    occurring = np.flatnonzero(past.diagonal() + following.sum(axis=0))
    penalty = ridge * past.diagonal()[occurring].mean()
    return np.linalg.solve(past + penalty * np.eye(len(past)), following)


def whole(model: NextItems) -> np.ndarray:
    everything = np.arange(len(model.codes))
    return np.stack([model.row(source, everything) for source in range(len(everything))])


@pytest.fixture
def found(planted: EventLog) -> Moments:
    return moments(interactions(planted, WEIGHTS.worth), recency=0.8, window=5, company=0.2)


def test_with_every_item_in_the_head_the_solution_is_exact(found: Moments) -> None:
    model = solve(found, 2.0)
    expected = dense(found, 2.0)[np.ix_(model.codes, model.codes)]
    assert np.allclose(whole(model), expected, atol=1e-5)


def test_a_tail_that_shares_no_users_is_solved_exactly_too() -> None:
    past = sp.csr_matrix(np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.0], [0.5, 0.0, 2.0]]))
    following = sp.csr_matrix(np.array([[0.0, 1.0, 0.2], [0.3, 0.0, 0.1], [0.6, 0.4, 0.0]]))
    found = Moments(past, following)
    model = solve(found, 1.0, most=1)
    penalty = 3.0
    inner = past.toarray() + penalty * np.eye(3)
    head = np.linalg.solve(
        inner[:1, :1],
        following[:1].toarray()
        - inner[:1, 1:] @ (following[1:].toarray() / inner.diagonal()[1:, np.newaxis]),
    )
    tail = (following[1:].toarray() - past[1:, :1] @ head) / inner.diagonal()[1:, np.newaxis]
    assert np.allclose(whole(model), np.concatenate([head, tail]), atol=1e-6)


@pytest.mark.parametrize("most", [3, 17, 4096])
def test_products_with_the_blocks_equal_products_with_the_matrix(found: Moments, most: int) -> None:
    model, random = solve(found, 2.0, most=most), np.random.default_rng(1)
    matrix, count = whole(model), len(model.codes)
    right = random.normal(size=(count, 3)).astype(np.float32)
    histories = sp.csr_matrix(random.random((5, count)) * (random.random((5, count)) < 0.2))
    assert np.allclose(model.dot(right), matrix @ right, atol=1e-4)
    assert np.allclose(model.transposed_dot(right), matrix.T @ right, atol=1e-4)
    assert np.allclose(model.scores(histories), histories @ matrix, atol=1e-4)


def test_the_next_item_scores_best(found: Moments) -> None:
    model = solve(found, 2.0)
    place = {int(code): at for at, code in enumerate(model.codes)}
    history = sp.csr_matrix(([1.0], ([0], [place[12]])), shape=(1, len(model.codes)))
    scores = model.scores(history)[0]
    scores[place[12]] = -np.inf
    assert int(model.codes[scores.argmax()]) == 13
    assert {int(code) // 10 for code in model.codes[np.argsort(-scores)[:5]]} == {1}


def test_without_events_there_is_nothing_to_map() -> None:
    empty = sp.csr_matrix((7, 7))
    model = solve(Moments(empty, empty), 1.0)
    assert len(model.codes) == 0
    assert model.scores(sp.csr_matrix((2, 0))).shape == (2, 0)
