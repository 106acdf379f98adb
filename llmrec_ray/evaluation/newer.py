"""Events since the live generation was trained in; what users liked last, as questions, out.

The span after `trained_until` is cut in two at the median of its events. What lies before the cut
is known when asked; what was liked after it is asked for. So a candidate that was trained up to the
cut, and the live generation, are both asked for events that neither has seen.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np

from llmrec_ray.evaluation.data import Ask, Past, is_relevant, upper_part
from llmrec_ray.feedback.rows import microseconds, moment
from llmrec_ray.pipeline import Scanned
from llmrec_ray.types import Event

MOST_USERS = 5_000
"""More users than this are drawn from: they bound the time of a comparison."""


@dataclass(frozen=True, slots=True)
class Newer:
    """One ask a user; `cut` is None, and nothing asked, where no time lies between new events."""

    events: int
    cut: datetime | None
    asks: tuple[Ask, ...]


def newer(events: Scanned, after: datetime | None, ids: Sequence[str], *, seed: int) -> Newer:
    """The questions of events later than `after`, on the items `ids`, whose places are codes."""
    times: list[int] = []

    def watched() -> Iterator[Event]:
        for event in events.scan():
            if after is None or event.time > after:
                times.append(microseconds(event.time))
            yield event

    relevant_from = upper_part(watched())
    cut = _cut(times)
    if cut is None:
        return Newer(len(times), None, ())
    found = _asks(events.scan(), cut, ids, relevant_from)
    return Newer(len(times), cut, _drawn(found, seed))


def _cut(times: Sequence[int]) -> datetime | None:
    """The median, or the last time before it that leaves later events."""
    ordered = np.sort(np.array(times, np.int64))
    earlier = ordered[ordered < ordered.max(initial=0)]
    if not len(earlier):
        return None
    return moment(min(int(ordered[(len(ordered) - 1) // 2]), int(earlier[-1])))


def _asks(
    events: Iterable[Event], cut: datetime, ids: Sequence[str], relevant_from: float | None
) -> Iterator[Ask]:
    code_of = {item_id: code for code, item_id in enumerate(ids)}
    for user_id, own in groupby(events, key=lambda event: event.user_id):
        known = [(event, code_of[event.item_id]) for event in own if event.item_id in code_of]
        before = [pair for pair in known if pair[0].time <= cut]
        codes = np.array([code for _, code in before], np.int64)
        liked = {code for event, code in known[len(before) :] if is_relevant(event, relevant_from)}
        wanted = np.setdiff1d(np.array(sorted(liked), np.int64), codes)
        if len(wanted):
            past = Past(user_id, tuple(event for event, _ in before), codes)
            yield Ask(past, wanted, np.unique(codes))


def _drawn(asks: Iterable[Ask], seed: int) -> tuple[Ask, ...]:
    """All, or `MOST_USERS` of them, each with the same chance (reservoir sampling)."""
    random = np.random.default_rng(seed)
    kept: list[Ask] = []
    for place, ask in enumerate(asks):
        if place < MOST_USERS:
            kept.append(ask)
        elif (chosen := int(random.integers(place + 1))) < MOST_USERS:
            kept[chosen] = ask
    return tuple(kept)
