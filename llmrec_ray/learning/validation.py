"""An event log in, the same log without some futures out, and the questions that they answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from llmrec_ray import metrics
from llmrec_ray.learning.interactions import EventLog, newer
from llmrec_ray.types import EventWeights, Float32s, Float64s, Ints

HELD_BACK = 0.2
"""The newest part of a user's events that is to be foretold."""

NEWCOMERS = 0.1
"""The part of users that training never sees, asked for after their first events."""

KNOWN_OF_NEWCOMERS = (1, 3, 5)
FEWEST_OF_NEWCOMERS = 6

NEWCOMERS_SHARE = 0.3
"""What newcomers count for in the mean; a service meets new users every day."""

MOST_SCORES = 2.0e7
"""Scores of all asks over all items: bounds memory, and so the number of asks."""


MOST_EVENTS = 1_000_000
"""Events that choices are made on: of a larger log, those of users drawn at random."""


@dataclass(frozen=True, slots=True)
class Asks:
    """Histories as a log with one user an ask, and what each ask should find, item codes.

    `shares` float64 [asks] is what each counts for in a mean; it adds up to 1.
    """

    histories: EventLog
    wanted: tuple[Ints, ...]
    shares: Float64s

    def __len__(self) -> int:
        return len(self.wanted)

    def folded(self, weights: EventWeights) -> sp.csr_matrix:
        """Each ask's history as weights w of items, [asks, items]: what the fold makes of it."""
        log = self.histories
        shape = (log.user_count, log.item_count)
        return sp.csr_matrix((self._worth(weights), (log.users, log.items)), shape=shape)

    def pull(self, weights: EventWeights) -> Float64s:
        """Σ|w| of each ask's history, float64 [asks]."""
        log = self.histories
        total: Float64s = np.zeros(log.user_count)
        np.add.at(total, log.users, np.abs(self._worth(weights)))
        return total

    def _worth(self, weights: EventWeights) -> Float64s:
        log = self.histories
        return log.weights(weights.worth) * weights.recency ** newer(log.users, log.user_count)


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on, and what to ask then."""

    training: EventLog
    asks: Asks


def split(log: EventLog, weights: EventWeights, *, most_asks: int, seed: int) -> Split:
    """Hold back the newest events of every user, and all events of some users, the newcomers.

    An ask wants the liked items among the held-back events, of a newcomer all later ones, that its
    user had not met before; users without any are not asked for.
    """
    random = np.random.default_rng(seed)
    most = max(1, min(most_asks, int(MOST_SCORES / max(log.item_count, 1))))
    counts = np.bincount(log.users, minlength=log.user_count)
    ends = np.cumsum(counts)
    held = np.where(counts > 1, np.maximum(1, np.ceil(HELD_BACK * counts)), 0).astype(np.int64)
    cuts, starts = ends - held, ends - counts
    able = random.permutation(np.flatnonzero(counts >= FEWEST_OF_NEWCOMERS))
    apart = able[: min(int(NEWCOMERS * len(able)), most // len(KNOWN_OF_NEWCOMERS))]
    others = random.permutation(np.setdiff1d(np.flatnonzero(held), apart))[:most]
    liked = log.weights(weights.worth) > 0
    histories: list[range] = []
    wanted: list[Ints] = []
    fresh: list[bool] = []

    def ask(user: int, stop: int, after: Ints, *, newcomer: bool) -> None:
        history = range(int(starts[user]), stop)
        new = np.setdiff1d(log.items[after[liked[after]]], log.items[history.start : history.stop])
        if len(new) and history:
            histories.append(history)
            wanted.append(new)
            fresh.append(newcomer)

    for user in others.tolist():
        ask(user, int(cuts[user]), np.arange(int(cuts[user]), int(ends[user])), newcomer=False)
    for user in apart.tolist():
        later = np.arange(int(starts[user]) + max(KNOWN_OF_NEWCOMERS), int(ends[user]))
        for known in KNOWN_OF_NEWCOMERS:
            ask(user, int(starts[user]) + known, later, newcomer=True)
    kept = (np.arange(len(log.users)) < cuts[log.users]) & ~np.isin(log.users, apart)
    asks = Asks(_excerpt(log, histories), tuple(wanted), _shares(np.array(fresh, np.bool_)))
    return Split(log.of(kept), asks)


def sample(log: EventLog, most: int, *, seed: int) -> EventLog:
    """The whole log, or at most `most` events: all those of users drawn at random."""
    if len(log.users) <= most:
        return log
    counts = np.bincount(log.users, minlength=log.user_count)
    drawn = np.random.default_rng(seed).permutation(log.user_count)
    chosen = np.zeros(log.user_count, np.bool_)
    chosen[drawn[: np.searchsorted(np.cumsum(counts[drawn]), most, side="right")]] = True
    renumbered = np.cumsum(chosen) - 1
    kept = log.of(chosen[log.users])
    return replace(kept, users=renumbered[kept.users], user_count=int(chosen.sum()))


def everyone(log: EventLog, most: int) -> Asks:
    """The whole histories of the first users, wanting nothing: what a usual score looks like."""
    counts = np.bincount(log.users, minlength=log.user_count)[:most]
    ends = np.cumsum(counts)
    spans = [range(int(stop - count), int(stop)) for stop, count in zip(ends, counts, strict=True)]
    nothing = tuple(np.zeros(0, np.int64) for _ in spans)
    return Asks(_excerpt(log, spans), nothing, np.full(len(spans), 1 / max(len(spans), 1)))


def ndcg(scores: Float32s, asks: Asks, at: int = 10) -> float:
    """Mean NDCG over the asks of scores float32 [asks, items]; what was seen is left out.

    `scores` is changed.
    """
    scores[asks.histories.users, asks.histories.items] = -np.inf
    at = min(at, scores.shape[1])
    best = np.argpartition(-scores, at - 1, axis=1)[:, :at]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    ranked = np.take_along_axis(best, order, axis=1)
    found = metrics.ndcg(metrics.hits(ranked, asks.wanted), metrics.sizes(asks.wanted), at)
    return float(np.dot(found, asks.shares))


def _excerpt(log: EventLog, spans: Sequence[range]) -> EventLog:
    """The events of each span as those of one user."""
    places = np.concatenate([np.zeros(0, np.int64), *(np.arange(s.start, s.stop) for s in spans)])
    users = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
    return EventLog(
        users, log.items[places], log.judged[places], log.judgements, len(spans), log.item_count
    )


def _shares(fresh: np.ndarray) -> Float64s:
    new, known = int(fresh.sum()), int((~fresh).sum())
    if not new or not known:
        return np.full(len(fresh), 1 / max(len(fresh), 1))
    return np.where(fresh, NEWCOMERS_SHARE / new, (1 - NEWCOMERS_SHARE) / known)
