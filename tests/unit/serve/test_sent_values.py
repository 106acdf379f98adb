"""What travels between replicas arrives bit for bit."""

import pickle
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pytest

from llmrec_ray.errors import GenerationMissing
from llmrec_ray.types import Candidate, Item, ItemQuery, Scope, ScoreQuery, WeightedEvent
from serve.calls.questions import Lookup, NearItem, Question, Score, Told

T = TypeVar("T")

EVENTS = tuple(WeightedEvent(f"e{n}", f"i{n}", "rating", 0.85**n, n / 3) for n in range(3))


def sent(value: T) -> T:
    return pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


@pytest.mark.parametrize("event", [*EVENTS, WeightedEvent("e", "i", "like", -0.0)])
def test_an_event_arrives_as_it_was(event: WeightedEvent) -> None:
    assert sent(event) == event
    assert repr(sent(event)) == repr(event)


def test_a_question_arrives_with_its_vector_and_its_scope() -> None:
    vector = np.random.default_rng(0).normal(size=8)
    scope = Scope(3, None, frozenset({"i1", "i2"}))
    asked: Sequence[Question[object]] = [
        Score("g1", ScoreQuery(EVENTS, vector, 0.5, scope)),
        Lookup("g1", ("i1",)),
    ]
    scored, looked = sent(asked)
    assert looked == asked[1]
    assert isinstance(scored, Score)
    assert scored.query.vector.tobytes() == vector.tobytes()
    assert (scored.query.events, scored.query.scope) == (EVENTS, scope)


def test_a_question_about_an_item_arrives_as_it_was() -> None:
    asked = NearItem("g1", ItemQuery("i1", "euclidean", Scope(3, None, frozenset({"i2"}))))
    assert sent(asked) == asked


def test_an_answer_arrives_with_its_place_in_the_item_log() -> None:
    assert sent(Told([Candidate("i1", "Heat", 1.0)], 7)) == Told([Candidate("i1", "Heat", 1.0)], 7)


def test_a_candidate_arrives_with_its_parts() -> None:
    shares, vector = np.array([0.1, -0.0]), np.array([1.5], np.float32)
    arrived = sent(Candidate("i1", "Heat", 0.1 + 0.2, 0.3, shares, vector))
    assert (arrived.item_id, arrived.title) == ("i1", "Heat")
    assert (arrived.score, arrived.prior) == (0.1 + 0.2, 0.3)
    assert arrived.neighbour_shares is not None
    assert arrived.neighbour_shares.tobytes() == shares.tobytes()
    assert arrived.vector is not None
    assert (arrived.vector.dtype, arrived.vector.tolist()) == (np.float32, [1.5])


def test_a_candidate_without_parts_arrives_without_them() -> None:
    assert sent(Candidate("i1", "Heat", 1.0)) == Candidate("i1", "Heat", 1.0)


def test_an_error_that_is_an_answer_arrives_with_its_code_and_fields() -> None:
    error = sent(GenerationMissing("not here.", generation="g1"))
    assert (str(error), error.code) == ("not here.", GenerationMissing.code)
    assert error.details == {"generation": "g1"}


def test_an_item_arrives_with_its_fields() -> None:
    item = Item("i1", "Heat", {"year": 1995.0, "cast": ("Pacino",)})
    assert sent(item) == item
