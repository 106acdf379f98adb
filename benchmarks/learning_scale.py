"""How do time and memory of training grow? Planted events in; a report and its ratios out.

Users like items of a few planted clusters, within which items are as popular as Zipf's law says.
Events are made as the arrays that training works on: reading them out of an event store, one Python
object each, is not part of what is measured. The large steps run as Ray tasks on this machine.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.meter import Meter
from benchmarks.planted import Held, Size, held_out, planted
from benchmarks.written import RESULTS, write
from llmrec_ray.evaluation.peers import cosines
from llmrec_ray.learning.blocks import Spread
from llmrec_ray.learning.interactions import EventLog, interactions, popularity
from llmrec_ray.learning.moments import moments
from llmrec_ray.learning.next_items import solve
from llmrec_ray.learning.taste import missed, taste
from llmrec_ray.learning.tuning import Budget, Knobs, tune
from llmrec_ray.metrics import hits, ndcg, sizes
from llmrec_ray.pipeline import starting_knobs
from llmrec_ray.settings import LearningSettings
from llmrec_ray.types import Float32s, Float64s
from serve.learning import on_ray

NAME = "learning_scale"
STORE_BYTES = 6 * 2**30
CPUS = 2
TEXT_DIM = 32
ASKED = 1_000
SIZES = (
    Size(10_000, 10_000, 200_000),
    Size(30_000, 100_000, 2_000_000),
    Size(100_000, 1_000_000, 20_000_000),
)
QUALITY_EVENTS = 2_000_000
"""Quality is looked at up to this size: peers hold whole item-item matrices."""


# ── training, as `learning.train` does it ────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Model:
    """What scores add up from; see `learning.train.Trained`."""

    knobs: Knobs
    weights: sp.csr_matrix
    context: Float32s
    target: Float32s
    popularity: Float64s
    pairs: int


def trained(
    log: EventLog,
    text: Float32s,
    settings: LearningSettings,
    meter: Meter,
    spread: Spread = on_ray,
) -> Model:
    """Every step, metered."""
    start = starting_knobs(settings)
    budget = Budget(maps=0, mixes=0, asks=settings.tune_asks, seed=settings.seed)
    with meter.stage("scale of mix"):
        knobs = tune(log, text, start, window=settings.window, budget=budget)
    with meter.stage("interactions"):
        data = interactions(log, knobs.weights.worth)
        popular = popularity(data)
    with meter.stage("moments"):
        recency = knobs.weights.recency
        found = moments(
            data, recency=recency, window=settings.window, company=knobs.company, spread=spread
        )
    with meter.stage("solve"):
        model = solve(found, knobs.ridge)
    pairs = found.past.nnz + found.next.nnz
    with meter.stage("taste"):
        dim, items = settings.taste_dim, log.item_count
        learned = taste(found, model, items=items, dim=dim, seed=settings.seed)
    del found
    with meter.stage("neighbours"):
        most, support = settings.neighbours, settings.min_support
        lists = missed(data, model, learned, most=most, min_support=support, spread=spread)
    shape = (log.item_count, log.item_count)
    weights = sp.csr_matrix((lists.weights, (lists.sources, lists.targets)), shape=shape)
    return Model(knobs, weights, learned.context, learned.target, popular, pairs)


# ── quality ──────────────────────────────────────────────────────────────────────────────────────


def histories(held: Held, recency: float) -> sp.csr_matrix:
    """recency^age of each asked user's events, float64 [asks, items]."""
    log = held.log
    ends = np.cumsum(np.bincount(log.users, minlength=log.user_count))
    rows = np.searchsorted(held.users, log.users)
    asked = np.isin(log.users, held.users)
    ages = ends[log.users] - 1 - np.arange(len(log.users))
    places = (rows[asked], log.items[asked])
    shape = (len(held.users), log.item_count)
    return sp.csr_matrix((recency ** ages[asked], places), shape=shape)


def ours(model: Model, held: Held) -> Float64s:
    """Neighbours, taste and the prior, as the service adds them up; text says nothing here."""
    past = histories(held, model.knobs.weights.recency)
    mix = model.knobs.mix
    said = np.asarray((past @ model.weights).toarray()) + (past @ model.context) @ model.target.T
    pull = np.asarray(past.sum(axis=1))
    return said + mix.prior * mix.prior_fade / (mix.prior_fade + pull) * model.popularity


def item_knn(held: Held) -> Float64s:
    """Scores of the item-kNN of `llmrec evaluate`."""
    log = held.log
    shape = (log.user_count, log.item_count)
    seen = sp.csr_matrix((np.ones(len(log.users)), (log.users, log.items)), shape=shape)
    seen.data[:] = 1.0
    return np.asarray((histories(held, 0.7) @ cosines(seen, 100, 20.0)).toarray())


def quality(scores: Float64s, held: Held) -> float:
    """Mean NDCG@10 over all items that the user did not have."""
    scores[histories(held, 1.0).nonzero()] = -np.inf
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    targets = [np.array([item]) for item in held.wanted]
    hit = hits(np.take_along_axis(best, order, axis=1), targets)
    return float(ndcg(hit, sizes(targets), 10).mean())


# ── the report ───────────────────────────────────────────────────────────────────────────────────


def measured(size: Size, seed: int) -> dict[str, Any]:
    """One size: its stages, and NDCG@10 beside peers where they fit."""
    print(f"{size.users:,} users × {size.items:,} items, about {size.events:,} events")
    held = held_out(planted(size, seed), ASKED, seed)
    text = np.random.default_rng(seed).normal(size=(size.items, TEXT_DIM)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    meter = Meter()
    model = trained(held.log, text, LearningSettings(), meter)
    found: dict[str, float] = {}
    if size.events <= QUALITY_EVENTS:
        found["llmrec"] = quality(ours(model, held), held)
        found["item-knn"] = quality(item_knn(held), held)
    print("  NDCG@10:", ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    stages = meter.stages.values()
    return {
        **asdict(size),
        "events": len(held.log.users),
        "pairs_of_moments": model.pairs,
        "neighbour_pairs": int(model.weights.nnz),
        "stages": {name: asdict(stage) for name, stage in meter.stages.items()},
        "seconds": sum(stage.seconds for stage in stages),
        "cpu_seconds": sum(stage.cpu_seconds for stage in stages),
        "peak_gib": max(stage.peak_gib for stage in stages),
        "asked": len(held.users),
        "ndcg@10": found,
    }


def ratios(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Growth between the smallest and the largest run, and NDCG@10 by item-kNN's."""
    first, last = runs[0], runs[-1]
    found = {
        "events_growth": last["events"] / first["events"],
        "items_growth": last["items"] / first["items"],
        "cpu_growth": last["cpu_seconds"] / first["cpu_seconds"],
        "memory_growth": last["peak_gib"] / first["peak_gib"],
    }
    for run in runs:
        if scores := run["ndcg@10"]:
            name = f"ndcg10_vs_item_knn_{run['items']}_items"
            found[name] = scores["llmrec"] / scores["item-knn"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every size, and write the report after each."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/learning_scale.py", description=__doc__
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        choices=range(1, len(SIZES) + 1),
        help="run these alone, 1 the smallest, and keep the others of the report",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    parser.add_argument("--seed", type=int, default=13)
    chosen = parser.parse_args(arguments)
    ray.init(
        address="local",
        num_cpus=CPUS,
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
    )
    runs = recorded(chosen.out) if chosen.sizes else {}
    try:
        for number in chosen.sizes or range(1, len(SIZES) + 1):
            size = SIZES[number - 1]
            runs[size.users] = measured(size, chosen.seed)
            _write(runs, chosen.seed, chosen.out)
    finally:
        ray.shutdown()
    return 0


def recorded(folder: Path) -> dict[int, dict[str, Any]]:
    """The runs of an earlier report, by users."""
    report = folder / f"{NAME}.json"
    if not report.exists():
        return {}
    return {run["users"]: run for run in json.loads(report.read_text("utf-8"))["runs"]}


def _write(by_users: Mapping[int, dict[str, Any]], seed: int, folder: Path) -> None:
    """The report of what was run so far."""
    runs = [by_users[users] for users in sorted(by_users)]
    settings = {
        "seed": seed,
        "cpus": CPUS,
        "memory": "proportional set size of all processes: shared pages are counted once",
        "left_out": "reading events out of an event store, the search for knobs (on at most"
        " 1,000,000 events), embedding, publishing",
    }
    packages = ("numpy", "ray", "scipy")
    write(NAME, ratios(runs), {"runs": runs}, settings, packages, folder=folder)


if __name__ == "__main__":
    sys.exit(main())
