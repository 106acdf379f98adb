"""A size in; events of users who keep to a few planted clusters of items, and stray, out."""

from dataclasses import dataclass

import numpy as np

from llmrec_ray.learning.interactions import EventLog
from llmrec_ray.types import Ints

CLUSTER_ITEMS = 200
CLUSTERS_A_USER = 3
STRAYS = 0.2
ZIPF = 1.0
LENGTH_SPREAD = 0.8
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Size:
    """How much is learned from."""

    items: int
    users: int
    events: int


def planted(size: Size, seed: int) -> EventLog:
    """Likes of users who keep to a few clusters of items, and stray now and then."""
    random = np.random.default_rng(seed)
    lengths = random.lognormal(0.0, LENGTH_SPREAD, size.users)
    counts = np.clip(np.round(lengths * size.events / lengths.sum()), 2, LONGEST).astype(np.int64)
    users = np.repeat(np.arange(size.users), counts)
    clusters = max(1, size.items // CLUSTER_ITEMS)
    ranks = np.arange(1, size.items // clusters + 1)
    law = np.cumsum(ranks**-ZIPF)
    rank = np.searchsorted(law, random.random(len(users)) * law[-1])
    theirs = random.integers(clusters, size=(size.users, CLUSTERS_A_USER))
    cluster = theirs[users, random.integers(CLUSTERS_A_USER, size=len(users))]
    strayed = random.random(len(users)) < STRAYS
    cluster[strayed] = random.integers(clusters, size=int(strayed.sum()))
    return EventLog(
        users,
        rank * clusters + cluster,
        np.zeros(len(users), np.int64),
        (("like", None),),
        size.users,
        size.items,
    )


@dataclass(frozen=True, slots=True)
class Held:
    """A log without the last event of some users, and these events' items: what comes next."""

    log: EventLog
    users: Ints
    wanted: Ints


def held_out(log: EventLog, most: int, seed: int) -> Held:
    """The last event of `most` users drawn at random, where its item is new to them."""
    last = np.cumsum(np.bincount(log.users, minlength=log.user_count)) - 1
    drawn = np.random.default_rng(seed).permutation(log.user_count)[:most]
    starts = np.concatenate([[0], last + 1])
    new = [u for u in drawn if log.items[last[u]] not in log.items[starts[u] : last[u]]]
    users = np.sort(np.array(new, np.int64))
    kept = np.ones(len(log.users), np.bool_)
    kept[last[users]] = False
    return Held(log.of(kept), users, log.items[last[users]])
