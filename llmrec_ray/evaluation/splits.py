"""Users' relevant events come in; what may be learnt and what is asked go out, by protocol.

- warm: per user the last 20 % are asked for; items with ≥ 3 events, users with ≥ 5;
- loo: the last event is asked for; the second-last is known when asked, but was not learnt from;
- cold-items: 10 % of the items of the warm split are never learnt from; every user's events on
  them are asked for, among themselves and among all items;
- cold-users: the newest 20 % of the users are never learnt from; 0, 1, 3 or 5 of their events are
  known when asked, and the same later ones are asked for;
- replay: the test events of the warm split in order of time, each asked for before and after the
  event before it is known.

What a user had is never an answer, and no target; what is asked for is never learnt from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from llmrec_ray.errors import InvalidInput
from llmrec_ray.evaluation.data import Ask, Catalog, Data, Past, pasts_of
from llmrec_ray.types import Bools, Ints

Protocol = Literal["warm", "loo", "cold-items", "cold-users", "replay"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

LEAST_ITEM = 3
LEAST_USER = 5
TEST_SHARE = 0.2
COLD_ITEMS = 0.1
NEWEST = 0.2
FOLDED = (0, 1, 3, 5)
LEAST_USERS = 2
"""Fewer users than this have no interval."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Questions of one kind, and among which items they are answered, bool [items]."""

    name: str
    asks: tuple[Ask, ...]
    allowed: Bools


@dataclass(frozen=True, slots=True)
class Split:
    """`facts` are what the split came to, for the report."""

    protocol: Protocol
    catalog: Catalog
    train: tuple[Past, ...]
    trials: tuple[Trial, ...]
    facts: Mapping[str, str | int | float]


def split(data: Data, protocol: Protocol, seed: int) -> Split:
    """Split by a protocol; raises `InvalidInput` where too little is left to ask."""
    made = _SPLITS[protocol](data, seed)
    for trial in made.trials:
        users = len({ask.past.user_id for ask in trial.asks})
        if users < LEAST_USERS:
            raise InvalidInput(
                f"protocol {protocol}: {users} users have something to ask for ({trial.name}), and"
                f" {LEAST_USERS} are needed. Give more events, a lower --relevant-from, or another"
                " --protocol.",
                protocol=protocol,
            )
    if not any(len(past) for past in made.train):
        raise InvalidInput(
            f"protocol {protocol}: no event is left to learn from. Give more events.",
            protocol=protocol,
        )
    return made


# ── the protocols ────────────────────────────────────────────────────────────────────────────────


def _warm(data: Data, seed: int) -> Split:
    core = _core(data)
    train = tuple(past.until(_cut(past)) for past in core.pasts)
    asks = [_ask(t, past.codes[len(t) :]) for t, past in zip(train, core.pasts, strict=True)]
    return _split("warm", core, train, {"warm": asks}, seed)


def _loo(data: Data, seed: int) -> Split:
    users = [past for past in data.pasts if len(past) > 2]
    train = tuple(past.until(len(past) - 2) for past in users)
    asks = [_ask(past.until(len(past) - 1), past.codes[-1:]) for past in users]
    return _split("loo", data, train, {"loo": asks}, seed)


def _cold_items(data: Data, seed: int) -> Split:
    core = _core(data)
    drawn = np.random.default_rng(seed).permutation(len(core.catalog))
    cold = np.zeros(len(core.catalog), dtype=np.bool_)
    cold[drawn[: round(COLD_ITEMS * len(drawn))]] = True
    train = tuple(past.kept(~cold[past.codes]) for past in core.pasts)
    asks = [
        _ask(known, past.codes[cold[past.codes]])
        for known, past in zip(train, core.pasts, strict=True)
        if len(known)
    ]
    trials = {"only-cold": asks, "all-items": asks}
    facts = {"cold_items": int(cold.sum())}
    return _split("cold-items", core, train, trials, seed, facts=facts, only={"only-cold": cold})


def _cold_users(data: Data, seed: int) -> Split:
    core = _core(data)
    pasts: list[Past] = sorted(core.pasts, key=lambda past: (past.events[0].time, past.user_id))
    if not data.timed:
        drawn = np.random.default_rng(seed).permutation(len(pasts))
        pasts = [pasts[at] for at in drawn]
    new = max(1, round(NEWEST * len(pasts)))
    train, newest = tuple(pasts[:-new]), pasts[-new:]
    most = max(FOLDED)
    trials = {
        f"k{k}": [_ask(past.until(k), past.codes[most:], past.codes[:k]) for past in newest]
        for k in FOLDED
    }
    told = "first event" if data.timed else "drawn: the events have no times"
    facts = {"cold_users": new, "newest_by": told}
    return _split("cold-users", core, train, trials, seed, facts=facts)


def _replay(data: Data, seed: int) -> Split:
    core = _core(data)
    cuts = [_cut(past) for past in core.pasts]
    train = tuple(past.until(cut) for past, cut in zip(core.pasts, cuts, strict=True))
    places = [
        (past.events[at].time, past.user_id, at, past)
        for past, cut in zip(core.pasts, cuts, strict=True)
        for at in range(cut + 1, len(past))
    ]
    places.sort(key=lambda place: place[:3])
    before = [
        _ask(past.until(at - 1), past.codes[at : at + 1], past.codes[:at])
        for _, _, at, past in places
    ]
    after = [_ask(past.until(at), past.codes[at : at + 1]) for _, _, at, past in places]
    return _split("replay", core, train, {"before": before, "after": after}, seed)


_SPLITS: Mapping[Protocol, Callable[[Data, int], Split]] = {
    "warm": _warm,
    "loo": _loo,
    "cold-items": _cold_items,
    "cold-users": _cold_users,
    "replay": _replay,
}


# ── what they share ──────────────────────────────────────────────────────────────────────────────


def _core(data: Data) -> Data:
    """Items with enough events, then users with enough; the catalogue is cut to those items."""
    counts = np.zeros(len(data.catalog), dtype=np.int64)
    for past in data.pasts:
        counts[past.codes] += 1
    rows = np.flatnonzero(counts >= LEAST_ITEM)
    if not len(rows):
        raise InvalidInput(
            f"no item has {LEAST_ITEM} relevant events, so there is nothing to rank."
            " Give more events, or a lower --relevant-from."
        )
    catalog = data.catalog.cut(rows)
    events = (event for past in data.pasts for event in past.events)
    pasts = pasts_of(events, catalog.ids)
    enough = tuple(past for past in pasts if len(past) >= LEAST_USER)
    return Data(catalog, enough, data.timed, data.relevant_from, data.events)


def _cut(past: Past) -> int:
    """Where the last 20 % begin, rounded up: one event at least is asked for."""
    return len(past) - math.ceil(TEST_SHARE * len(past))


def _ask(past: Past, targets: Ints, masked: Ints | None = None) -> Ask:
    """Targets that the user had are dropped: they could never be answered."""
    had = np.unique(past.codes if masked is None else masked)
    return Ask(past, np.setdiff1d(targets, had), had)


def _split(
    protocol: Protocol,
    data: Data,
    train: tuple[Past, ...],
    trials: Mapping[str, Sequence[Ask]],
    seed: int,
    *,
    facts: Mapping[str, str | int | float] | None = None,
    only: Mapping[str, Bools] | None = None,
) -> Split:
    everything = np.ones(len(data.catalog), dtype=np.bool_)
    made = tuple(
        Trial(
            name,
            tuple(ask for ask in asks if len(ask.targets)),
            (only or {}).get(name, everything),
        )
        for name, asks in trials.items()
    )
    counts = {
        "items": len(data.catalog),
        "users": len(data.pasts),
        "events": sum(len(past) for past in data.pasts),
        "events_learnt": sum(len(past) for past in train),
        "seed": seed,
    }
    return Split(protocol, data.catalog, train, made, {**counts, **(facts or {})})
