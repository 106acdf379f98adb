"""A split and systems come in; every measure of every system, with intervals and tests, go out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import scipy.sparse as sp

from llmrec_ray import metrics
from llmrec_ray.catalog.clean import Cleaned
from llmrec_ray.evaluation.compare import (
    ROUNDS,
    Interval,
    Paired,
    by_user,
    interval,
    numbered,
    paired,
    resampled,
)
from llmrec_ray.evaluation.data import System
from llmrec_ray.evaluation.ranking import taken
from llmrec_ray.evaluation.splits import Split, Trial
from llmrec_ray.evaluation.textspace import tfidf
from llmrec_ray.schemas import FIELD_PREFIX
from llmrec_ray.types import Float64s, Ints

CUTS = (10, 20)
MAIN = "ndcg@10"
LENGTHS = (0, 1, 2, 5, 10, 20, 50, 100)
"""Where a new group of history lengths begins."""
FEATURES = 100
"""Tags that calibration looks at: the commonest."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Group:
    """The asks with histories of `shortest` to `longest` events; None: without an end."""

    shortest: int
    longest: int | None
    asks: int
    mean: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One system on one trial: accuracy by user with intervals, and what lists are like."""

    system: str
    accuracy: Mapping[str, Interval]
    lists: Mapping[str, float]
    by_history: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial; `paired` has the first system against every other, for every accuracy measure."""

    name: str
    asks: int
    users: int
    candidates: int
    measured: tuple[Measured, ...]
    paired: Mapping[str, Mapping[str, Paired]]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """All trials of a split, and how many seconds each system took to fit and to rank."""

    tried: tuple[Tried, ...]
    seconds: Mapping[str, tuple[float, float]]


def evaluate(
    split: Split, systems: Sequence[System], seed: int, told: Progress = lambda _: None
) -> Evaluated:
    """Fit every system once, and ask it every trial; the first one is compared with the others."""
    ranked: dict[str, list[Ints]] = {trial.name: [] for trial in split.trials}
    seconds: dict[str, tuple[float, float]] = {}
    for system in systems:
        told(system.name)
        start = perf_counter()
        ranker = system.fit(split.catalog, split.train)
        fitted = perf_counter()
        for trial in split.trials:
            ranked[trial.name].append(ranker.rank(trial.asks, trial.allowed, max(CUTS)))
        seconds[system.name] = (fitted - start, perf_counter() - fitted)
    told("measures")
    space = _space(split)
    names = [system.name for system in systems]
    tried = tuple(_tried(trial, names, ranked[trial.name], space, seed) for trial in split.trials)
    return Evaluated(tried, seconds)


def best_peer(tried: Tried, measure: str = MAIN) -> str:
    """The peer with the largest mean."""
    return max(tried.measured[1:], key=lambda one: one.accuracy[measure].mean).system


@dataclass(frozen=True, slots=True)
class _Space:
    """What list measures need: users of each item in training, text, and tags of the items."""

    users_of: Ints
    users: int
    text: sp.csr_matrix
    features: Float64s


def _space(split: Split) -> _Space:
    seen = taken(split.train, len(split.catalog))
    return _Space(
        np.asarray(seen.sum(axis=0)).ravel().astype(np.int64),
        seen.shape[0],
        tfidf(split.catalog.texts),
        _features(split.catalog.cleaned),
    )


def _features(cleaned: Cleaned) -> Float64s:
    """The first tag field's commonest tags, a row sums to 1 or 0, float64 [items, tags]."""
    name = next((name for name, kind in cleaned.fields.items() if kind == "tags"), None)
    if name is None:
        return np.zeros((cleaned.items.num_rows, 0))
    rows: list[list[str]] = [tags or [] for tags in cleaned.items[FIELD_PREFIX + name].to_pylist()]
    counts: dict[str, int] = {}
    for tags in rows:
        for tag in tags:
            counts[tag] = counts.get(tag, 0) + 1
    common = sorted(counts, key=lambda tag: (-counts[tag], tag))[:FEATURES]
    column = {tag: at for at, tag in enumerate(common)}
    found = np.zeros((len(rows), len(column)))
    for row, tags in enumerate(rows):
        for tag in tags:
            if tag in column:
                found[row, column[tag]] = 1.0
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1.0)


def _tried(
    trial: Trial, names: Sequence[str], ranked: Sequence[Ints], space: _Space, seed: int
) -> Tried:
    users = numbered([ask.past.user_id for ask in trial.asks])
    targets = [ask.targets for ask in trial.asks]
    scored = [_accuracy(codes, targets) for codes in ranked]
    kinds = list(scored[0])
    table = np.stack([one[kind] for one in scored for kind in kinds], axis=1)
    values = by_user(table, users)
    means = resampled(values, ROUNDS, seed)
    place = {
        (name, kind): at for at, (name, kind) in enumerate((n, k) for n in names for k in kinds)
    }

    def of(name: str, kind: str) -> Interval:
        at = place[name, kind]
        return interval(float(values[:, at].mean()), means[:, at])

    measured = tuple(
        Measured(
            name,
            {kind: of(name, kind) for kind in kinds},
            _lists(trial, codes, space),
            _by_history(trial, one[MAIN]),
        )
        for name, codes, one in zip(names, ranked, scored, strict=True)
    )
    tests = {
        peer: {
            kind: paired(values, means, place[names[0], kind], place[peer, kind]) for kind in kinds
        }
        for peer in names[1:]
    }
    asks, candidates = len(trial.asks), int(trial.allowed.sum())
    return Tried(trial.name, asks, len(values), candidates, measured, tests)


def _accuracy(ranked: Ints, targets: Sequence[Ints]) -> dict[str, Float64s]:
    hit, wanted = metrics.hits(ranked, targets), metrics.sizes(targets)
    found: dict[str, Float64s] = {}
    for k in CUTS:
        found[f"ndcg@{k}"] = metrics.ndcg(hit, wanted, k)
        found[f"recall@{k}"] = metrics.recall(hit, wanted, k)
        found[f"hit_rate@{k}"] = metrics.hit_rate(hit, k)
        found[f"mrr@{k}"] = metrics.reciprocal_rank(hit, k)
    return found


def _lists(trial: Trial, ranked: Ints, space: _Space) -> dict[str, float]:
    histories = [ask.past.codes for ask in trial.asks]
    candidates = int(trial.allowed.sum())
    found: dict[str, float] = {}
    for k in CUTS:
        cut = ranked[:, :k]
        found[f"coverage@{k}"] = metrics.coverage(cut, candidates)
        found[f"gini@{k}"] = metrics.gini(cut, np.flatnonzero(trial.allowed))
        found[f"novelty@{k}"] = metrics.novelty(cut, space.users_of, space.users)
        found[f"diversity@{k}"] = float(metrics.diversity(cut, space.text).mean())
        if space.features.shape[1]:
            apart = metrics.miscalibration(cut, histories, space.features)
            found[f"miscalibration@{k}"] = float(apart.mean())
        found[f"popularity_lift@{k}"] = metrics.popularity_lift(cut, histories, space.users_of)
    return found


def _by_history(trial: Trial, values: Float64s) -> tuple[Group, ...]:
    lengths = np.array([len(ask.past) for ask in trial.asks])
    groups: list[Group] = []
    for shortest, following in zip(LENGTHS, (*LENGTHS[1:], None), strict=True):
        inside = lengths >= shortest
        if following is not None:
            inside &= lengths < following
        if inside.any():
            longest = None if following is None else following - 1
            mean = float(values[inside].mean())
            groups.append(Group(shortest, longest, int(inside.sum()), mean))
    return tuple(groups)
