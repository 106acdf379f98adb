"""An event log and text vectors in, the knobs that foretell held-back events best out.

Two bounded searches by optuna's TPE sampler (Bergstra et al. 2011), seeded: first what the map from
a history to the next items depends on, then how its channels are mixed. Both look at NDCG@10 over
the whole catalogue.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from llmrec_ray.learning.interactions import EventLog, interactions, popularity
from llmrec_ray.learning.moments import moments
from llmrec_ray.learning.next_items import solve
from llmrec_ray.learning.validation import MOST_EVENTS, Asks, everyone, ndcg, sample, split
from llmrec_ray.types import EventWeights, Float32s, Float64s, Mix

FEWEST_ASKS = 50
"""With fewer asks a choice would be noise."""

USUAL = 200
"""Users whose scores tell how large a usual score is, where nothing can be chosen."""

HEAD = 1024
"""Items solved exactly in a trial: a larger head moves validation by less than its error."""

BEST = 10


@dataclass(frozen=True, slots=True)
class Knobs:
    """Everything that is chosen; `ndcg` is what validation saw, None where nothing was chosen."""

    weights: EventWeights
    mix: Mix
    ridge: float
    company: float
    ndcg: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is tried: trials of the map, trials of the mix, asks at most."""

    maps: int
    mixes: int
    asks: int
    seed: int


def tune(log: EventLog, text: Float32s, start: Knobs, *, window: int, budget: Budget) -> Knobs:
    """The best knobs of the budget's trials; those of `start` where events are too few to tell.

    `text` float32 [items, dim]. The mix of `start` is relative (see `absolute`), and tried first.
    """
    log = sample(log, MOST_EVENTS, seed=budget.seed)
    data = split(log, start.weights, most_asks=budget.asks, seed=budget.seed)
    if not budget.maps or not budget.mixes or len(data.asks) < FEWEST_ASKS:
        usual = _heard(log, everyone(log, USUAL), text, start, window)
        return replace(start, mix=usual.absolute(start.mix))

    def heard(knobs: Knobs) -> "_Heard":
        return _heard(data.training, data.asks, text, knobs, window)

    def with_map(values: Mapping[str, float]) -> Knobs:
        weights = replace(
            start.weights, recency=values["recency"], value_share=values["value_share"]
        )
        return replace(start, weights=weights, ridge=values["ridge"], company=values["company"])

    def try_map(values: Mapping[str, float]) -> float:
        found = heard(with_map(values))
        return found.ndcg(found.absolute(start.mix))

    ranges = {
        "recency": (0.6, 0.98, False),
        "ridge": (0.3, 30.0, True),
        "company": (0.01, 10.0, True),
    }
    has_values = any(value is not None for _, value in log.judgements)
    ranges["value_share"] = (0.0, 1.0 if has_values else 0.0, False)
    first = {
        "recency": start.weights.recency,
        "ridge": start.ridge,
        "company": start.company,
        "value_share": 0.0,
    }
    best = with_map(_best(try_map, ranges, first, trials=budget.maps, seed=budget.seed))
    found = heard(best)

    def mixed(values: Mapping[str, float]) -> Mix:
        return found.absolute(replace(start.mix, **values))

    ranges = {
        "text": (0.003, 3.0, True),
        "prior": (0.003, 3.0, True),
        "prior_fade": (0.1, 30.0, True),
    }
    first = {name: getattr(start.mix, name) for name in ranges}
    chosen = mixed(
        _best(
            lambda values: found.ndcg(mixed(values)),
            ranges,
            first,
            trials=budget.mixes,
            seed=budget.seed,
        )
    )
    return replace(best, mix=chosen, ndcg=found.ndcg(chosen))


@dataclass(frozen=True, slots=True)
class _Heard:
    """What each channel says to the asks: float32 [asks, items]; `pull` float64 [asks] is Σ|w|."""

    asks: Asks
    next_items: Float32s
    text: Float32s
    popularity: Float64s
    pull: Float64s

    def ndcg(self, mix: Mix) -> float:
        fades = mix.prior * mix.prior_fade / (mix.prior_fade + self.pull)
        prior = np.outer(fades, self.popularity).astype(np.float32)
        total = self.next_items + np.float32(mix.text) * self.text + prior
        return ndcg(total.astype(np.float32, copy=False), self.asks)

    def absolute(self, relative: Mix) -> Mix:
        """The mix whose text, prior and query are in units of a usual best score of `next_items`.

        Text counts by how far the best scores of text stand out from the mean.
        """
        unit = _stands_out(self.next_items) or 1.0
        text = relative.text * unit / (_stands_out(self.text) or 1.0)
        return replace(
            relative, text=text, prior=relative.prior * unit, query=relative.query * unit / text
        )


def _heard(log: EventLog, asks: Asks, text: Float32s, knobs: Knobs, window: int) -> _Heard:
    data = interactions(log, knobs.weights.worth)
    found = moments(data, recency=knobs.weights.recency, window=window, company=knobs.company)
    model = solve(found, knobs.ridge, most=HEAD)
    folded = asks.folded(knobs.weights)
    met = np.unique(folded.indices)  # few: a difference for every item would be a second `text`
    mean = text.sum(axis=0) / max(len(text), 1)  # numpy's own warns of a catalogue without items
    pulls = folded[:, met] @ (text[met] - mean)
    said = np.zeros((len(asks), log.item_count), np.float32)
    said[:, model.codes] = model.scores(folded[:, model.codes])
    return _Heard(
        asks=asks,
        next_items=said,
        text=pulls.astype(np.float32) @ text.T,
        popularity=popularity(data),
        pull=asks.pull(knobs.weights),
    )


def _stands_out(scores: Float32s) -> float:
    """How far the best scores of an ask are above its mean, averaged over the asks."""
    if not scores.size:
        return 0.0
    best = min(BEST, scores.shape[1])
    top = np.partition(scores, scores.shape[1] - best, axis=1)[:, -best:]
    gaps: Float32s = top.mean(axis=1) - scores.mean(axis=1)
    return float(gaps.mean())


def _best(
    value: Callable[[Mapping[str, float]], float],
    ranges: Mapping[str, tuple[float, float, bool]],
    first: Mapping[str, float],
    *,
    trials: int,
    seed: int,
) -> Mapping[str, float]:
    """The values (in their ranges: low, high, on a log scale) with the largest `value`."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(dict(first))

    def one(trial: optuna.Trial) -> float:
        return value(
            {
                name: trial.suggest_float(name, low, high, log=log)
                for name, (low, high, log) in ranges.items()
            }
        )

    study.optimize(one, n_trials=trials)
    return study.best_params
