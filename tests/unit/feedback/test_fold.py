"""The fold: what each event weighs, and that nothing but the events themselves matters."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.feedback.user import REVIEWS, fold, reviews, session, session_reviews
from llmrec_ray.ports import History
from llmrec_ray.types import (
    Event,
    EventWeights,
    Reading,
    SessionItem,
    UserState,
    WeightedEvent,
)

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
    assert session(items, WEIGHTS).events == (
        WeightedEvent("session:2", "a", "session", 4.0),
        WeightedEvent("session:1", "b", "session", -1.0),
        WeightedEvent("session:0", "a", "session", 0.25),
    )


def test_a_session_without_recency_keeps_its_weights_and_drops_zeros():
    items = [SessionItem("a", 0.7), SessionItem("b", 0.0), SessionItem("c", 0.1)]
    found = session(items, replace(WEIGHTS, recency=1.0)).events
    assert [(one.item_id, one.weight) for one in found] == [("c", 0.1), ("a", 0.7)]


def test_an_empty_session_has_no_events():
    assert session([], WEIGHTS) == UserState(0)


def test_a_session_weighs_types_and_values_as_events_do():
    told = [("rating", 1.0), ("rating", 5.0), ("dislike", None), ("review", 5.0), ("click", None)]
    items = [SessionItem(f"item-{n}", None, kind, value) for n, (kind, value) in enumerate(told)]
    events = [event(str(n), kind, n, value) for n, (kind, value) in enumerate(told)]
    folded = fold(History(1, tuple(events)), WEIGHTS)
    found = session(items, WEIGHTS)
    assert [(one.item_id, one.type, one.weight, one.value) for one in found.events] == [
        (one.item_id, one.type, one.weight, one.value) for one in folded.events
    ]
    assert found.seen == folded.seen


def test_the_weight_of_a_session_item_counts_instead_of_its_type_value_and_text():
    item = SessionItem("a", 3.0, "review", 1.0, "Dreadful.")
    (told,) = session([item], WEIGHTS).events
    assert (told.weight, told.type) == (3.0, "review")
    assert session_reviews([item, replace(item, weight=None)]) == {"session:1": "Dreadful."}


# ── what reviews say ─────────────────────────────────────────────────────────────────────────────


def review(event_id: str, minute: int = 0, value: float | None = None) -> Event:
    return replace(event(event_id, "review", minute, value), text=f"What {event_id} says.")


def reading(lean: float = 0.8) -> Reading:
    return Reading("encoder", lean, b"\0\0\x80\x3f")


def told_of(*reviews_: Event, lean: float = 0.8) -> dict[str, float]:
    read = {one.event_id: reading(lean) for one in reviews_}
    folded = fold(History(1, reviews_), WEIGHTS, read)
    assert {one.event_id for one in folded.opinions} <= {one.event_id for one in folded.events}
    return {one.event_id: one.weight for one in folded.opinions}


def test_what_a_review_says_counts_on_the_side_of_its_value_else_of_its_text():
    assert told_of(review("a", value=1.0), lean=0.8) == {"a": -1.0}
    assert told_of(review("a", value=4.0), lean=-0.8) == {"a": 0.5}
    assert told_of(review("a"), lean=-0.8) == {"a": -0.8}
    assert told_of(review("a"), lean=0.8) == {"a": 0.8}


def test_what_leans_nowhere_adds_nothing():
    assert told_of(review("a"), lean=0.0) == {}
    assert told_of(review("a", value=3.0), lean=1.0) == {}


def test_what_a_review_says_fades_with_every_newer_event():
    folded = fold(
        History(1, (review("a"), event("b", minute=1), event("c", minute=2))),
        WEIGHTS,
        {"a": reading()},
    )
    assert [(one.event_id, one.weight) for one in folded.opinions] == [("a", 0.8 * 0.25)]


def test_a_review_that_was_not_read_counts_by_its_item_alone():
    folded = fold(History(1, (review("a"),)), WEIGHTS)
    assert [(one.event_id, one.weight) for one in folded.events] == [("a", 0.5)]
    assert folded.opinions == ()


def test_a_review_without_a_value_turns_its_item_down_where_its_text_does():
    assert weights_of(review("a")) == {"a": 0.5}
    folded = fold(History(1, (review("a"),)), WEIGHTS, {"a": reading(-0.8)})
    assert [one.weight for one in folded.events] == [0.5 * 0.5 * -0.8]


def test_an_opinion_keeps_an_event_of_weight_zero_among_the_events():
    silent = replace(WEIGHTS, by_type={})
    folded = fold(History(1, (review("a"),)), silent, {"a": reading()})
    assert [(one.event_id, one.weight) for one in folded.events] == [("a", 0.0)]
    assert [one.weight for one in folded.opinions] == [0.8]


def test_only_so_many_of_the_newest_reviews_are_read():
    told = [review(f"{n:03}", minute=n) for n in range(REVIEWS + 3)]
    assert [one.event_id for one in reviews(History(1, (event("x"), *told)))] == [
        f"{n:03}" for n in range(REVIEWS + 2, 2, -1)
    ]
