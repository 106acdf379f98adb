"""How well do we recommend? MovieLens and Amazon Beauty in, `results/quality.json` out.

`python benchmarks/quality.py --data FOLDER` runs every protocol with the default settings beside
the peers, in one process: warm, cold items and cold users on films, leave-one-out on products.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.written import RESULTS, write
from llmrec_ray.catalog.description import load_description
from llmrec_ray.errors import LLMRecError
from llmrec_ray.evaluation.data import Data, read_data
from llmrec_ray.evaluation.ours import Ours
from llmrec_ray.evaluation.peers import peers_of
from llmrec_ray.evaluation.report import Json, report
from llmrec_ray.evaluation.run import MAIN, Evaluated, Tried, best_peer, evaluate
from llmrec_ray.evaluation.sasrec import checked
from llmrec_ray.evaluation.splits import Protocol, split
from llmrec_ray.parts import load_embedder
from llmrec_ray.ports import Embedder
from llmrec_ray.settings import Settings

HERE = Path(__file__).parent
SEED = 13
RUNS: tuple[tuple[str, Protocol], ...] = (
    ("movielens-small", "warm"),
    ("movielens-small", "cold-items"),
    ("movielens-small", "cold-users"),
    ("beauty", "loo"),
)
RATIOS: Mapping[str, tuple[str, str, str]] = {
    "movies_ndcg10": ("movielens-small warm", "warm", "ndcg@10"),
    "beauty_ndcg10": ("beauty loo", "loo", "ndcg@10"),
    "beauty_recall10": ("beauty loo", "loo", "recall@10"),
    "cold_items_movies_ndcg10": ("movielens-small cold-items", "only-cold", "ndcg@10"),
    "cold_user_k1_ndcg10": ("movielens-small cold-users", "k1", "ndcg@10"),
    "cold_user_k3_ndcg10": ("movielens-small cold-users", "k3", "ndcg@10"),
    "cold_user_k5_ndcg10": ("movielens-small cold-users", "k5", "ndcg@10"),
}
"""The run, the trial and the measure of ours behind each name."""
LOWS = {
    "movies_vs_best_peer_low": ("movielens-small warm", "warm"),
    "beauty_vs_best_peer_low": ("beauty loo", "loo"),
}


@dataclass(frozen=True, slots=True)
class Done:
    """One run: its trials by name, and its report."""

    trials: Mapping[str, Tried]
    report: Json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write the results, print the ratios."""
    parser = argparse.ArgumentParser(prog="python benchmarks/quality.py", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder of movielens-small/ and beauty/"
    )
    parser.add_argument("--only", choices=[" ".join(run) for run in RUNS], help="one run alone")
    parser.add_argument("--sasrec-python", type=Path, help="adds SASRec: see benchmarks/sasrec.sh")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the result")
    given = parser.parse_args(arguments)
    settings = Settings()
    done: dict[str, Done] = {}
    data: dict[str, Data] = {}
    try:
        sasrec = checked(given.sasrec_python) if given.sasrec_python else None
        embedder = load_embedder(settings, cached=True)
        for catalog, protocol in RUNS:
            name = f"{catalog} {protocol}"
            if given.only in {None, name}:
                if catalog not in data:
                    data = {catalog: _data(catalog, given.data, embedder)}
                done[name] = _run(name, data[catalog], protocol, settings, sasrec)
    except LLMRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    ratios = {name: value for name, value in _ratios(done).items() if value is not None}
    runs = {name: one.report for name, one in done.items()}
    packages = ("numpy", "scipy", "implicit", "optuna")
    write("quality", ratios, {"runs": runs}, {"seed": SEED}, packages, folder=given.out)
    return 0


def _data(catalog: str, folder: Path, embedder: Embedder) -> Data:
    described = load_description(HERE / "catalogs" / f"{catalog}.yaml", folder)
    return read_data(described, embedder.passages, embedder.info)


def _run(
    name: str, data: Data, protocol: Protocol, settings: Settings, sasrec: Path | None
) -> Done:
    made = split(data, protocol, SEED)
    peers, left_out = peers_of(protocol, len(made.catalog), sasrec)
    systems = (Ours(settings.learning, settings.users.history), *peers)
    found = evaluate(made, systems, SEED, _told(name))
    _print(name, found)
    trials = {tried.name: tried for tried in found.tried}
    return Done(trials, report(data, made, systems, found, left_out))


def _told(name: str) -> Callable[[str], None]:
    start = time.perf_counter()
    return lambda step: print(f"[{time.perf_counter() - start:5.0f} s] {name}: {step}", flush=True)


def _print(name: str, found: Evaluated) -> None:
    for tried in found.tried:
        for one in tried.measured:
            values = f"{one.accuracy[MAIN].mean:.4f}  R {one.accuracy['recall@10'].mean:.4f}"
            print(f"{name} {tried.name:10} {one.system:12} N {values}", flush=True)


def _ratios(done: Mapping[str, Done]) -> dict[str, float | None]:
    ratios: dict[str, float | None] = {}
    for name, (run, trial, measure) in RATIOS.items():
        if run in done:
            ratios[name] = done[run].trials[trial].measured[0].accuracy[measure].mean
    for name, (run, trial) in LOWS.items():
        if run in done:
            tried = done[run].trials[trial]
            ratios[name] = tried.paired[best_peer(tried)][MAIN].relative_low
    return ratios


if __name__ == "__main__":
    sys.exit(main())
