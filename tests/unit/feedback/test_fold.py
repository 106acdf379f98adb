"""The fold: what each event weighs, and that nothing but the events themselves matters."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.feedback.user import fold, session
from llmrec_ray.ports import History
from llmrec_ray.types import Event, EventWeights, SessionItem, UserState, WeightedEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEIGHTS = EventWeights(
    by_type={"view": 0.0, "click": 0.3, "dislike": -1.0, "rating": 2.0, "review": 0.5},
    recency=0.5,
    low_rating=0.5,
)


def event(event_id: str, kind: str = "click", minute: int = 0, value: float | None = None) -> Event:
    time = NOON + timedelta(minutes=minute)
    return Event(event_id, "ada", f"item-{event_id}", kind, time, value)  # type: ignore[arg-type]


def weights_of(*events: Event) -> dict[str, float]:
    return {one.event_id: one.weight for one in fold(History(1, events), WEIGHTS).events}


def test_a_user_without_history_folds_to_nothing():
    assert fold(History(0, ()), WEIGHTS) == UserState(0)


def test_the_newest_event_comes_first_and_older_ones_fade():
    state = fold(History(3, (event("old", minute=1), event("new", minute=2))), WEIGHTS)
    assert state == UserState(
        user_version=3,
        events=(
            WeightedEvent("new", "item-new", "click", 0.3),
            WeightedEvent("old", "item-old", "click", 0.15),
        ),
        seen=frozenset({"item-old", "item-new"}),
    )


def test_of_two_events_at_one_time_the_greater_id_is_the_newer():
    assert weights_of(event("a"), event("b")) == {"b": 0.3, "a": 0.15}


def test_an_event_of_weight_zero_is_seen_and_still_ages_the_older_ones():
    state = fold(History(1, (event("a"), event("b", "view", minute=1))), WEIGHTS)
    assert [(one.event_id, one.weight) for one in state.events] == [("a", 0.15)]
    assert state.seen == {"item-a", "item-b"}


def test_a_type_that_the_weights_do_not_know_only_counts_as_seen():
    state = fold(History(1, (event("a", "purchase"),)), WEIGHTS)
    assert (state.events, state.seen) == ((), {"item-a"})


@pytest.mark.parametrize(
    ("value", "weight"), [(5, 2.0), (4, 1.0), (2, -0.5), (1, -1.0), (9, 2.0), (-3, -1.0)]
)
def test_a_rating_counts_by_its_place_on_the_scale_and_never_more(value: float, weight: float):
    assert weights_of(event("a", "rating", value=value)) == {"a": weight}


def test_a_rating_in_the_middle_or_without_a_value_weighs_nothing():
    assert weights_of(event("a", "rating", value=3), event("b", "rating")) == {}


def test_a_review_is_positive_unless_its_value_says_otherwise():
    assert weights_of(event("a", "review")) == {"a": 0.5}
    assert weights_of(event("a", "review", value=1)) == {"a": -0.25}


def test_the_value_of_another_type_does_not_count():
    assert weights_of(event("a", "dislike", value=5)) == {"a": -1.0}


def test_a_rating_scale_without_width_is_refused():
    flat = EventWeights(by_type={"rating": 1.0}, rating_scale=(3.0, 3.0))
    with pytest.raises(InvalidSettings, match="rating_scale"):
        fold(History(1, (event("a", "rating", value=3),)), flat)


histories = st.lists(
    st.builds(
        event,
        st.text("abcdef", min_size=1, max_size=3),
        st.sampled_from(["view", "click", "dislike", "rating", "review"]),
        st.integers(0, 5),
        st.none() | st.floats(0, 6),
    ),
    max_size=30,
    unique_by=lambda one: one.event_id,
)


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_arrival_leaves_no_trace(events: list[Event], dice):
    shuffled = events.copy()
    dice.shuffle(shuffled)
    assert fold(History(1, tuple(shuffled)), WEIGHTS) == fold(History(1, tuple(events)), WEIGHTS)


@given(histories.filter(bool), st.data())
def test_a_fold_without_an_event_is_the_fold_of_one_who_never_had_it(
    events: list[Event], data: st.DataObject
):
    gone = data.draw(st.sampled_from(events))
    never = tuple(one for one in events if one is not gone)
    newest_first = sorted(events, key=lambda one: (one.time, one.event_id), reverse=True)
    without = tuple(one for one in newest_first if one.event_id != gone.event_id)
    folded = fold(History(2, without), WEIGHTS)
    assert folded == fold(History(2, never), WEIGHTS)
    assert gone.event_id not in {one.event_id for one in folded.events}


def test_a_session_is_given_oldest_first_and_its_newest_item_counts_full():
    items = [SessionItem("a"), SessionItem("b", -2.0), SessionItem("a", 4.0)]
    assert session(items, recency=0.5) == (
        WeightedEvent("session:2", "a", "session", 4.0),
        WeightedEvent("session:1", "b", "session", -1.0),
        WeightedEvent("session:0", "a", "session", 0.25),
    )


def test_a_session_without_recency_keeps_its_weights_and_drops_zeros():
    items = [SessionItem("a", 0.7), SessionItem("b", 0.0), SessionItem("c", 0.1)]
    assert [(one.item_id, one.weight) for one in session(items)] == [("c", 0.1), ("a", 0.7)]


def test_an_empty_session_has_no_events():
    assert session([]) == ()
