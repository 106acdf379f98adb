"""A user's history in, the weighted events that every score is a sum over out: pure functions.

The fold depends on nothing but which events there are: it sorts them itself, so an order of arrival
leaves no trace, and forgetting an event is folding a history that never had it, bit for bit.
"""

from collections.abc import Mapping, Sequence

from llmrec_ray.ports import History
from llmrec_ray.types import (
    Event,
    EventWeights,
    Opinion,
    Reading,
    SessionItem,
    UserState,
    WeightedEvent,
)

REVIEWS = 50
"""How many reviews, the newest, count by what they say: a vector each is kept for every one."""

NOTHING: Mapping[str, Reading] = {}


def reviews(history: History) -> tuple[Event, ...]:
    """The reviews whose texts count, newest first."""
    return tuple(event for event in _newest_first(history) if event.text is not None)[:REVIEWS]


def fold(
    history: History, weights: EventWeights, readings: Mapping[str, Reading] = NOTHING
) -> UserState:
    """The user's state: w_j = by_type · factor of the value · recency^position, newest event first.

    The position counts every newer event, whatever it weighs; weight 0 only counts as seen.
    `readings`, by event id, are of the `reviews`: what they say counts beside what they are of.
    """
    newest_first = _newest_first(history)
    weighted: list[WeightedEvent] = []
    opinions: list[Opinion] = []
    for position, event in enumerate(newest_first):
        fade = weights.recency**position
        reading = readings.get(event.event_id)
        worth = weights.worth(event.type, event.value, reading and reading.lean)
        said = _said(event.event_id, event.value, reading, weights, fade)
        opinions += said
        if worth or said:
            one = WeightedEvent(
                event.event_id, event.item_id, event.type, worth * fade, event.value
            )
            weighted.append(one)
    return UserState(
        user_version=history.user_version,
        events=tuple(weighted),
        seen=frozenset(event.item_id for event in newest_first),
        opinions=tuple(opinions),
    )


def session_reviews(items: Sequence[SessionItem]) -> dict[str, str]:
    """The texts of a session that count, by event id."""
    told = [(at, item.text) for at, item in enumerate(items) if item.weight is None and item.text]
    return {f"session:{at}": text for at, text in told[-REVIEWS:]}


def session(
    items: Sequence[SessionItem],
    weights: EventWeights,
    readings: Mapping[str, Reading] = NOTHING,
) -> UserState:
    """The state of a session without a user: `items` oldest first, as they happened.

    Newest first out, as `fold`; `session:0` is the oldest item. A given weight is taken as it is,
    times recency^position. An item of weight 0 adds nothing.
    """
    weighted: list[WeightedEvent] = []
    opinions: list[Opinion] = []
    for place in range(len(items) - 1, -1, -1):
        item, event_id = items[place], f"session:{place}"
        fade = weights.recency ** (len(items) - 1 - place)
        reading = readings.get(event_id)
        worth = _session_worth(item, weights, reading)
        said = _said(event_id, item.value, reading, weights, fade)
        opinions += said
        if worth or said:
            kind = item.type or "session"
            weighted.append(WeightedEvent(event_id, item.item_id, kind, worth * fade, item.value))
    seen = frozenset(item.item_id for item in items)
    return UserState(0, tuple(weighted), seen, tuple(opinions))


def _newest_first(history: History) -> list[Event]:
    return sorted(history.events, key=lambda event: (event.time, event.event_id), reverse=True)


def _session_worth(item: SessionItem, weights: EventWeights, reading: Reading | None) -> float:
    if item.weight is not None:
        return item.weight
    if item.type is None:
        return 1.0
    return weights.worth(item.type, item.value, reading and reading.lean)


def _said(
    event_id: str, value: float | None, reading: Reading | None, weights: EventWeights, fade: float
) -> list[Opinion]:
    """The opinion of a review that was read, where it leans to a side; else none."""
    if reading is None or not (told := weights.told(value, reading.lean)):
        return []
    return [Opinion(event_id, told * fade, reading)]
