"""Events in, weighted user-item interactions out: what every channel learns from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from llmrec_ray.types import Bools, Event, EventType, Float64s, Ints

LONGEST_HISTORY = 500
"""Older events of a user are left out: co-occurrence grows with a history's square."""

Judgement = tuple[EventType, float | None]
"""What an event says about an item: its type and its value."""

Worth = Callable[[EventType, float | None], float]


@dataclass(frozen=True, slots=True)
class EventLog:
    """Events as codes, int64 [events], sorted by user, then by time.

    `judged` points into `judgements`, of which there are few; `user_count` users, `item_count`
    items.
    """

    users: Ints
    items: Ints
    judged: Ints
    judgements: tuple[Judgement, ...]
    user_count: int
    item_count: int

    def of(self, kept: Bools) -> "EventLog":
        """The events that `kept`, bool [events], marks."""
        return EventLog(
            self.users[kept],
            self.items[kept],
            self.judged[kept],
            self.judgements,
            self.user_count,
            self.item_count,
        )

    def weights(self, worth: Worth) -> Float64s:
        """What each event is worth, float64 [events]."""
        each = np.array([worth(*judgement) for judgement in self.judgements], np.float64)
        return each[self.judged]


@dataclass(frozen=True, slots=True)
class Interactions:
    """What users liked, one entry a user and item, in each user's order of time.

    `users` and `items` are codes, int64 [entries], sorted by user, then by time; `weights` > 0.
    """

    users: Ints
    items: Ints
    weights: Float64s
    user_count: int
    item_count: int


def event_log(events: Iterable[Event], codes: Mapping[str, int]) -> EventLog:
    """From events sorted by (user, time); those for items without a code are left out."""
    users: list[int] = []
    items: list[int] = []
    judged: list[int] = []
    judgements: dict[Judgement, int] = {}
    last, user = None, -1
    for event in events:
        if (item := codes.get(event.item_id)) is None:
            continue
        user += event.user_id != last
        last = event.user_id
        users.append(user)
        items.append(item)
        judgement = (event.type, event.value)
        judged.append(judgements.setdefault(judgement, len(judgements)))
    return EventLog(
        np.array(users, np.int64),
        np.array(items, np.int64),
        np.array(judged, np.int64),
        tuple(judgements),
        user + 1,
        len(codes),
    )


def interactions(log: EventLog, worth: Worth) -> Interactions:
    """Each user's newest events, joined by item.

    Weights of one item add up; an item counts at its newest event, and only while its sum is
    positive.
    """
    recent = newer(log.users, log.user_count) < LONGEST_HISTORY
    users, items = log.users[recent], log.items[recent]
    pairs, of_pair = np.unique(users * log.item_count + items, return_inverse=True)
    sums: Float64s = np.zeros(len(pairs))
    np.add.at(sums, of_pair, log.weights(worth)[recent])
    newest = np.zeros(len(pairs), np.int64)
    np.maximum.at(newest, of_pair, np.arange(len(users)))
    places = np.sort(newest[sums > 0])
    return Interactions(
        users[places], items[places], sums[of_pair[places]], log.user_count, log.item_count
    )


def popularity(data: Interactions) -> Float64s:
    """How many users like each item, on a log scale with the most liked at 1, float64 [items]."""
    counts = np.bincount(data.items, minlength=data.item_count).astype(np.float64)
    logs = np.log1p(counts)
    return logs / max(float(logs.max(initial=0.0)), 1.0)


def newer(users: Ints, user_count: int) -> Ints:
    """How many entries of the same user come after each, int64 [entries]; `users` is sorted."""
    ends = np.cumsum(np.bincount(users, minlength=user_count))
    return ends[users] - 1 - np.arange(len(users))
