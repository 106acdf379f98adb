"""Do candidates reach the true top ten? MovieLens and Beauty in, `results/candidates.json` out.

`python benchmarks/candidates.py --data FOLDER` learns and publishes each data set as `llmrec
publish` does, loads it into a shard that compresses and into one that scores every item, and asks
both for users with their whole history, with one event, for sessions, and for texts. Shards this
small score everything unless told otherwise: measured is what larger ones do.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.written import write
from llmrec_ray.evaluation.data import Past, pasts_of
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.user import fold, session
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.online.shares import Pull, prior_factor
from llmrec_ray.parts import load_embedder
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import Embedder, History
from llmrec_ray.search.exact import text_addend
from llmrec_ray.settings import Settings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Float32s, Scope, ScoreQuery, SessionItem, UserState

HERE = Path(__file__).parent
CATALOGS = ("movielens-small", "beauty")
TEN = 10
SESSION = 3
BLOCK = 32
SEED = 13


@dataclass(frozen=True, slots=True)
class Loaded:
    """A published data set in both shards, and users who ask it."""

    manifest: Manifest
    exact: Shard
    scan: Shard
    asking: Sequence[Past]
    texts: Float32s


def loaded(catalog: str, data: Path, embedder: Embedder, *, users: int, folder: Path) -> Loaded:
    """Learn with the defaults from all events, publish into `folder`, load."""
    settings = Settings()
    description = Path(copy(HERE / "catalogs" / f"{catalog}.yaml", folder))
    (folder / catalog).symlink_to((data / catalog).resolve())
    store = FolderStore(folder / "objects")
    url = f"sqlite:///{folder / 'events.db'}"
    with open_event_store(url, timeout_s=60, ttl_s=60) as events:
        made = ingest(
            description,
            Sources(store, events, "benchmark"),
            embed=embedder.passages,
            encoder=embedder.info,
            learning=settings.learning,
            rejected=folder,
        )
        stored = list(events.scan())
    exact, scan = (Shard(store, 0, 1, index=kind) for kind in ("exact", "scan"))
    exact.prepare(made.manifest)
    scan.prepare(made.manifest)
    ids = sorted({event.item_id for event in stored})
    random = np.random.default_rng(SEED)
    pasts = pasts_of(stored, ids)
    asking = [pasts[at] for at in random.permutation(len(pasts))[:users]]
    titles = [scan.lookup(made.manifest.generation, [one.events[-1].item_id])[0] for one in asking]
    texts = [item.title for found in titles for item in found.values()]
    return Loaded(made.manifest, exact, scan, asking, embedder.queries(texts))


def queries(one: Loaded) -> Mapping[str, Sequence[ScoreQuery]]:
    """By kind: all users' histories, their first events, their last as sessions, and titles."""
    weights, mix = one.manifest.weights, one.manifest.mix
    states = {
        "warm": [fold(History(1, past.events[-500:]), weights) for past in one.asking],
        "one_event": [fold(History(1, past.events[:1]), weights) for past in one.asking],
        "session": [
            session([SessionItem(event.item_id) for event in past.events[-SESSION:]], weights)
            for past in one.asking
        ],
    }
    asked = {kind: [_query(one, state) for state in some] for kind, some in states.items()}
    addends = [text_addend(text, mix.query, mix, one.manifest.taste_dim) for text in one.texts]
    asked["text"] = [ScoreQuery((), addend, 0.0, Scope(TEN)) for addend in addends]
    return asked


def _query(one: Loaded, state: UserState) -> ScoreQuery:
    vector = one.scan.gather(one.manifest.generation, state.events)
    pull = Pull(state.events, (), vector, spoken=None, coverages=())
    scope = Scope(TEN, exclude=state.seen)
    return ScoreQuery(state.events, vector, prior_factor(pull, one.manifest.mix), scope)


def recall(one: Loaded, asked: Sequence[ScoreQuery]) -> float:
    """The share of the exact top ten that the compressed shard gives."""
    hits = true = 0
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        pairs = zip(
            one.exact.score(one.manifest.generation, block),
            one.scan.score(one.manifest.generation, block),
            strict=True,
        )
        for truth, found in pairs:
            best = {each.item_id for each in truth}
            true += len(best)
            hits += len(best & {each.item_id for each in found})
    return hits / true


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python benchmarks/candidates.py", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="as for benchmarks.quality")
    parser.add_argument("--users", type=int, default=2_000)
    chosen = parser.parse_args(arguments)
    embedder = load_embedder(Settings(), cached=True)
    found: dict[str, dict[str, float]] = {}
    for catalog in CATALOGS:
        with TemporaryDirectory() as folder:
            one = loaded(catalog, chosen.data, embedder, users=chosen.users, folder=Path(folder))
            found[catalog] = {kind: recall(one, asked) for kind, asked in queries(one).items()}
        print(catalog, {kind: round(value, 4) for kind, value in found[catalog].items()})
    ratios = {
        f"{catalog.split('-')[0]}_{kind}": value
        for catalog, kinds in found.items()
        for kind, value in kinds.items()
    }
    settings = {"users": chosen.users, "session": SESSION, "seed": SEED}
    write("candidates", ratios, {"recall": found}, settings, ("faiss-cpu", "numpy"))


if __name__ == "__main__":
    main()
