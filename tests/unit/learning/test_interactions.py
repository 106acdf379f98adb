"""Events to interactions: order, weights that add up, and what is left out."""

from datetime import UTC, datetime, timedelta

import numpy as np

from llmrec_ray.learning.interactions import LONGEST_HISTORY, event_log, interactions
from llmrec_ray.types import Event, EventType, EventWeights
from tests.unit.learning.conftest import log_of

WEIGHTS = EventWeights({"like": 1.0, "view": 0.2, "dislike": -1.0, "rating": 1.0})


def event(user: str, item: str, day: int, kind: EventType = "like") -> Event:
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Event(f"{user}-{item}-{day}", user, item, kind, time)


def test_weights_of_one_item_add_up_at_its_newest_place() -> None:
    events = [event("u", "a", 1), event("u", "b", 2), event("u", "a", 3, "view")]
    found = interactions(event_log(events, {"a": 0, "b": 1}), WEIGHTS.worth)
    assert found.items.tolist() == [1, 0]
    assert found.weights.tolist() == [1.0, 1.2]


def test_what_is_disliked_more_than_liked_is_left_out() -> None:
    events = [event("u", "a", 1), event("u", "a", 2, "dislike"), event("u", "b", 3)]
    found = interactions(event_log(events, {"a": 0, "b": 1}), WEIGHTS.worth)
    assert found.items.tolist() == [1]


def test_events_of_unknown_items_are_left_out_and_users_keep_apart() -> None:
    events = [event("u", "a", 1), event("u", "gone", 2), event("v", "a", 1)]
    log = event_log(events, {"a": 0})
    assert log.users.tolist() == [0, 1]
    assert log.user_count == 2


def test_only_the_newest_events_of_a_long_history_count() -> None:
    found = interactions(log_of([list(range(600))], 600), WEIGHTS.worth)
    assert len(found.items) == LONGEST_HISTORY
    assert np.array_equal(found.items, np.arange(600 - LONGEST_HISTORY, 600))
