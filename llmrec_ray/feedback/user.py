"""A user's history in, the weighted events that every score is a sum over out: pure functions.

The fold depends on nothing but which events there are: it sorts them itself, so an order of arrival
leaves no trace, and forgetting an event is folding a history that never had it, bit for bit.
"""

from collections.abc import Sequence

from llmrec_ray.ports import History
from llmrec_ray.types import EventWeights, SessionItem, UserState, WeightedEvent


def fold(history: History, weights: EventWeights) -> UserState:
    """The user's state: w_j = by_type · factor of the value · recency^position, newest event first.

    The position counts every newer event, whatever it weighs; weight 0 only counts as seen.
    """
    newest_first = sorted(
        history.events, key=lambda event: (event.time, event.event_id), reverse=True
    )
    weighted = (
        WeightedEvent(
            event_id=event.event_id,
            item_id=event.item_id,
            type=event.type,
            weight=weights.worth(event.type, event.value) * weights.recency**position,
            value=event.value,
        )
        for position, event in enumerate(newest_first)
    )
    return UserState(
        user_version=history.user_version,
        events=tuple(event for event in weighted if event.weight != 0),
        seen=frozenset(event.item_id for event in newest_first),
    )


def session(items: Sequence[SessionItem], recency: float = 1.0) -> tuple[WeightedEvent, ...]:
    """The events of a session without a user: `items` oldest first, as they happened.

    Newest first out. A weight is taken as it is, times recency^position; `session:0` is the oldest
    item. An item of weight 0 adds nothing.
    """
    newest = len(items) - 1
    weighted = (
        WeightedEvent(
            event_id=f"session:{place}",
            item_id=items[place].item_id,
            type="session",
            weight=items[place].weight * recency ** (newest - place),
        )
        for place in range(newest, -1, -1)
    )
    return tuple(event for event in weighted if event.weight != 0)
