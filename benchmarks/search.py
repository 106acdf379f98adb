"""How good and how fast is a shard's search? Vectors in, a table and `results/search.json` out.

`python benchmarks/search.py --items 120000` publishes vectors with trained shapes, loads them into
a shard, and holds its answers against the exact scorer. Then the shard, raw faiss and each peer (in
the environment that `benchmarks/peers.sh` makes) answer the same queries in turns, one client and
one thread each; a ratio is the median over the turns of the peer's time by ours: time of the CPU
beside raw faiss, which shares our process, time of the wall beside the others. At last each peer
becomes a web service, beside ours (`search_http.py`).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.search_data import MIX, PERCENTS, Corpus, corpus, draft_of
from benchmarks.search_http import CLIENTS, over_http
from benchmarks.search_rivals import TEN, TURN, Peer, RawFaiss, Turn, in_turns
from benchmarks.written import write
from llmrec_ray.generation.activation import activate
from llmrec_ray.generation.publish import publish
from llmrec_ray.search.exact import text_addend
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Candidate, NearQuery, Range, Scope, ScoreQuery, WeightedEvent
from serve.ray_process import on_terminate_raise
from tests.support.postgres import PostgresServer

GOAL = 0.99
SETTINGS = {  # the peers' ef, from fast to exact
    "pgvector": (40, 100, 200, 400, 800),
    "chromadb": (50, 100, 200, 400, 800),
    "qdrant_edge": (50, 100, 200, 400, 800),
}


@dataclass(frozen=True, slots=True)
class Ours:
    """The shard under test, the exact one, and the queries of each kind."""

    shard: Shard
    exact: Shard
    generation: str
    kinds: Mapping[str, Sequence[ScoreQuery]]
    near: Sequence[NearQuery]
    prepare_s: float

    def turn(self, kind: str) -> Turn:
        """One call a query, as one client makes them."""

        def run(start: int, end: int) -> float:
            since = time.thread_time()
            for query in self.kinds[kind][start:end]:
                self.shard.score(self.generation, [query])
            return time.thread_time() - since

        return run

    def turn_near(self, start: int, end: int) -> float:
        since = time.perf_counter()
        for query in self.near[start:end]:
            self.shard.near(self.generation, [query])
        return time.perf_counter() - since


def ours(made: Corpus, folder: Path) -> Ours:
    """Publish, load twice, and draw the queries."""
    store = FolderStore(folder)
    manifest = publish(store, draft_of(made))
    activate(store, manifest.generation, "benchmark")
    exact = Shard(store, 0, 1, index="exact")
    exact.prepare(manifest)
    since = time.perf_counter()
    shard = Shard(store, 0, 1)
    shard.prepare(manifest)
    prepare_s = time.perf_counter() - since
    generation = manifest.generation
    kinds = _kinds(made, lambda events: shard.gather(generation, events))
    near = [NearQuery(vector, "cosine", Scope(TEN)) for vector in made.asked]
    return Ours(shard, exact, generation, kinds, near, prepare_s)


def _kinds(
    made: Corpus, gather: Callable[[Sequence[WeightedEvent]], np.ndarray]
) -> dict[str, list[ScoreQuery]]:
    taste_dim = made.target.shape[1]
    pulls = [text_addend(vector, MIX.query, MIX, taste_dim) for vector in made.asked]
    kinds = {"text": [ScoreQuery((), pull, 0.0, Scope(TEN)) for pull in pulls]}
    for percent in PERCENTS:
        scope = Scope(TEN, Range("share", lt=percent))
        kinds[f"text, {percent} % pass"] = [ScoreQuery((), pull, 0.0, scope) for pull in pulls]
    for name, length in (("mix", made.histories.shape[1]), ("one event", 1)):
        kinds[name] = []
        for rows in made.histories[:, :length]:
            events = tuple(
                WeightedEvent(f"e{n}", f"i{row}", "like", 0.85**n) for n, row in enumerate(rows)
            )
            fade = MIX.prior_fade / (MIX.prior_fade + sum(event.weight for event in events))
            scope = Scope(TEN, exclude=frozenset(event.item_id for event in events))
            kinds[name].append(ScoreQuery(events, gather(events), MIX.prior * fade, scope))
    kinds["taste"] = [
        ScoreQuery(
            (), np.where(np.arange(len(query.vector)) < taste_dim, query.vector, 0), 0, Scope(TEN)
        )
        for query in kinds["mix"]
    ]
    return kinds


def recalls(tested: Ours) -> dict[str, float]:
    """Recall@10 of each kind against the exact scorer, and that scores are the same bits."""
    found: dict[str, float] = {}
    for kind, queries in tested.kinds.items():
        hits = 0
        for start in range(0, len(queries), 32):
            asked = queries[start : start + 32]
            truth = tested.exact.score(tested.generation, asked)
            hits += _hits(truth, tested.shard.score(tested.generation, asked))
        found[kind] = hits / (TEN * len(queries))
    return found


def _hits(truth: Sequence[Sequence[Candidate]], found: Sequence[Sequence[Candidate]]) -> int:
    """How many of the true answers, with their very scores, were given."""
    answers = [{(each.item_id, each.score) for each in one} for one in (*truth, *found)]
    return sum(len(a & b) for a, b in zip(answers, answers[len(truth) :], strict=False))


def started(made: Corpus, name: str, python: str, stack: ExitStack) -> Peer:
    """A peer that holds the texts, in a process that ends with the stack."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    np.save(folder / "vectors.npy", made.text)
    np.save(folder / "queries.npy", made.asked)
    files = [str(folder / "vectors.npy"), str(folder / "queries.npy")]
    if name == "pgvector":
        files.append(stack.enter_context(PostgresServer()).url().replace("+psycopg", ""))
    return stack.enter_context(Peer(python, name, *files))


def compared(tested: Ours, made: Corpus, name: str, peer: Peer) -> dict[str, Any]:
    """The curve of a peer on text queries, and its time by ours at its chosen setting."""
    truth = np.argsort(-(made.asked @ made.text.T), axis=1)[:, :TEN]
    curve: list[dict[str, float]] = []
    for setting in SETTINGS[name]:
        ids, seconds = peer.ask(setting, 0, len(truth))
        hits = sum(len({*a} & {*b}) for a, b in zip(truth.tolist(), ids, strict=True))
        recall = hits / truth.size
        curve.append({"ef": setting, "recall": recall, "per_s": len(truth) / seconds})
        print(f"  {name:12} ef {setting:4} recall {recall:.4f} {len(truth) / seconds:8.0f}/s")
        if recall >= GOAL:
            break
    best = max(curve, key=lambda point: point["recall"])
    chosen = next((point for point in curve if point["recall"] >= GOAL), best)
    ef = int(chosen["ef"])
    spent = in_turns(len(truth), [tested.turn_near, lambda start, end: peer.ask(ef, start, end)[1]])
    return {
        "build_s": peer.build_s,
        "curve": curve,
        "ef": ef,
        "recall": chosen["recall"],
        "ours_per_s": TURN / float(np.median(spent[:, 0])),
        "per_s": TURN / float(np.median(spent[:, 1])),
        "ratio": float(np.median(spent[:, 1] / spent[:, 0])),
    }


def beside_faiss(tested: Ours, made: Corpus, found: Mapping[str, float]) -> dict[str, Any]:
    """Both recalls and both speeds for each kind of query; faiss knows vectors and nothing else.

    It adds no neighbours and no prior, and answers filters as if there were none.
    """
    raw = RawFaiss(made)
    speeds: dict[str, dict[str, float]] = {}
    for kind, queries in tested.kinds.items():
        spent = in_turns(len(queries), [tested.turn(kind), raw.turn(queries)])
        middle = np.median(spent, axis=0)
        speeds[kind] = {
            "recall": found[kind],
            "faiss_recall": raw.recall(queries),
            "ours_per_s": TURN / float(middle[0]),
            "faiss_per_s": TURN / float(middle[1]),
            "vs_faiss": float(np.median(spent[:, 1] / spent[:, 0])),
        }
        print(f"{kind:18}" + "".join(f"  {k} {v:.4g}" for k, v in speeds[kind].items()))
    return speeds


def beside_peers(
    tested: Ours, made: Corpus, store: Path, chosen: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Each peer in its own process, and then over HTTP: `http` in what is found."""
    with ExitStack() as stack:
        peers = {
            name: started(made, name, _python(name, chosen.peers_python), stack)
            for name in chosen.peers
        }
        found = {name: compared(tested, made, name, peer) for name, peer in peers.items()}
        if peers and chosen.http_seconds:
            rows = np.random.default_rng(0).permutation(chosen.items).tolist()
            asked = {name: (peer, found[name]["ef"]) for name, peer in peers.items()}
            for name, http in over_http(store, asked, rows, chosen.http_seconds).items():
                found[name]["http"] = http
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=120_000)
    parser.add_argument("--queries", type=int, default=500, help="of each kind")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--peers", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--peers-python", default="var/peers/bin/python")
    parser.add_argument("--http-seconds", type=float, default=4, help="a turn; 0: no HTTP")
    chosen = parser.parse_args(arguments)
    on_terminate_raise()  # or Ray would go on without us
    made = corpus(chosen.items, chosen.queries, chosen.model)
    # As a replica on Ray has it; else small products wait for threads that have no core.
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        store = Path(folder, "objects")
        tested = ours(made, store)
        print(f"prepared in {tested.prepare_s:.1f} s")
        found = recalls(tested)
        speeds = beside_faiss(tested, made, found)
        peers = beside_peers(tested, made, store, chosen)
    filtered = [kind for kind in found if "pass" in kind]
    ratios = {
        "recall_at_10": min(found[kind] for kind in ("text", "taste", "mix", "one event")),
        "filtered_recall_at_10": min(found[kind] for kind in filtered),
        "vs_faiss": speeds["text"]["vs_faiss"],
        **{f"vs_{name}": peer["ratio"] for name, peer in peers.items()},
        **{
            f"http_vs_{name}": peer["http"]["ratio"]
            for name, peer in peers.items()
            if "http" in peer
        },
    }
    write(
        "search",
        ratios,
        {"kinds": speeds, "peers": peers, "prepare_s": tested.prepare_s},
        {**vars(chosen), "threads": 1, "http_clients": CLIENTS},
        ("faiss-cpu", "numpy"),
    )


def _python(name: str, peers: str) -> str:
    """pgvector's server is a test's, and its client is in this environment."""
    return sys.executable if name == "pgvector" else peers


if __name__ == "__main__":
    main()
