"""The steps of `benchmarks/scale.py`, each in a process of its own: a size in, figures out.

A process of its own holds nothing of another step, so its memory is that of the step. Memory is
what no file backs (`RssAnon`): pages of mapped files are the page cache's.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from benchmarks.search_data import MIX, TASTE, corpus, draft_of
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.search.exact import text_addend
from llmrec_ray.search.merge import merge
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Candidate, IndexKind, Scope, ScoreQuery, WeightedEvent

TEN = 10
WARM = 20  # queries that are asked before time is taken
KINDS = ("mix", "text")

P = ParamSpec("P")
R = TypeVar("R")
Answers = list[list[tuple[str, float]]]


def alone(step: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """What a step returns, run in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(step, *arguments, **options).result()


def published(
    folder: Path, items: int, queries: int, model: str, encoder: EncoderInfo | None = None
) -> dict[str, Any]:
    """Make a catalogue and publish it; queries are left beside it for the other steps."""
    made = corpus(items, queries, model)
    np.savez(folder / "asked.npz", text=made.asked, histories=made.histories)
    draft = draft_of(made)
    draft = replace(draft, encoder=encoder or draft.encoder)
    size = draft.items.nbytes + sum(channel.table.nbytes for channel in draft.channels)
    del made
    with _peak() as peak:
        since = time.perf_counter()
        manifest = publish(FolderStore(folder / "objects"), draft)
        seconds = time.perf_counter() - since
    return {
        "generation": manifest.generation,
        "publish_s": seconds,
        "draft_bytes": size,
        "peak_by_draft": peak[0] / size,
        "text_dim": manifest.encoder.dim,
    }


def served(
    folder: Path,
    generation: str,
    shards: int,
    *,
    index: IndexKind = "auto",
    most: int | None = None,
) -> tuple[dict[str, Any], dict[str, Answers]]:
    """Prepare that many shards and ask them, one client; figures, and the answers of each kind.

    `most` queries of a kind are asked, or all.

    The shards of a query are asked one after the other here; on nodes of their own they answer at
    once, so a query takes what its slowest shard takes: `slowest`.
    """
    store = FolderStore(folder / "objects")
    manifest = load_manifest(store, generation)
    before = _resident("RssAnon")
    group = [
        Shard(store, shard, shards, index=index, originals=folder / "originals")
        for shard in range(shards)
    ]
    with _peak() as peak:
        since = time.perf_counter()
        for shard in group:
            shard.prepare(manifest)
        prepare_s = time.perf_counter() - since
    answers: dict[str, Answers] = {}
    times: dict[str, dict[str, float]] = {}
    for kind, queries in _asked(folder, group, generation).items():
        spent, found = _timed(group, generation, queries[:most])
        answers[kind] = [[(one.item_id, one.score) for one in each] for each in found]
        times[kind] = _percentiles(spent)
    items = sum(shard.sizes[generation] for shard in group)
    resident = _resident("RssAnon")
    return {
        "shards": shards,
        "prepare_s": prepare_s,
        "prepare_s_per_100k": prepare_s / items * 100_000,
        "resident_bytes_per_item": (resident - before) / items,
        "resident_gib": resident / 2**30,
        "peak_gib": peak[0] / 2**30,
        "times": times,
    }, answers


def scanned(folder: Path, generation: str) -> dict[str, float]:
    """The peer: a matrix product over all vectors in memory, and its ten best, as numpy does it."""
    parts = [
        np.load(folder / "originals" / f"0-of-1-{generation}-{name}.npy")
        for name in ("target_vector", "text")
    ]
    joint = np.concatenate(parts, axis=1)
    del parts
    texts = np.load(folder / "asked.npz")["text"]
    spent: list[float] = []
    for text in texts[:WARM]:
        vector = text_addend(text, MIX.query, MIX, TASTE).astype(np.float32)
        since = time.perf_counter()
        products = joint @ vector
        best = np.argpartition(products, len(products) - TEN)[-TEN:]
        best[np.argsort(-products[best])]
        spent.append(time.perf_counter() - since)
    return {"p50_ms": float(np.median(spent)) * 1000, "bytes_per_item": joint.nbytes / len(joint)}


def recall(truth: Answers, found: Answers) -> float:
    """The share of the true answers, with their very scores, that were given."""
    hits = sum(len({*a} & {*b}) for a, b in zip(truth, found, strict=False))
    return hits / sum(map(len, truth))


def _asked(folder: Path, group: Sequence[Shard], generation: str) -> dict[str, list[ScoreQuery]]:
    """Queries as a recommendation makes them from 20 events, and as a text makes them."""
    saved = np.load(folder / "asked.npz")
    mixed: list[ScoreQuery] = []
    for rows in saved["histories"]:
        events = tuple(
            WeightedEvent(f"e{n}", f"i{row}", "like", 0.85**n) for n, row in enumerate(rows)
        )
        vector = np.sum([shard.gather(generation, events) for shard in group], axis=0)
        fade = MIX.prior_fade / (MIX.prior_fade + sum(event.weight for event in events))
        scope = Scope(TEN, exclude=frozenset(event.item_id for event in events))
        mixed.append(ScoreQuery(events, vector, MIX.prior * fade, scope))
    pulls = [text_addend(text, MIX.query, MIX, TASTE) for text in saved["text"]]
    texts = [ScoreQuery((), pull, 0.0, Scope(TEN)) for pull in pulls]
    return dict(zip(KINDS, (mixed, texts), strict=True))


def _timed(
    group: Sequence[Shard], generation: str, queries: Sequence[ScoreQuery]
) -> tuple[np.ndarray, list[tuple[Candidate, ...]]]:
    """Seconds [queries, shards], and what was found; the first are asked twice."""
    for query in queries[:WARM]:
        for shard in group:
            shard.score(generation, [query])
    spent = np.zeros((len(queries), len(group)))
    found: list[tuple[Candidate, ...]] = []
    for place, query in enumerate(queries):
        lists: list[list[Candidate]] = []
        for number, shard in enumerate(group):
            since = time.perf_counter()
            lists.append(shard.score(generation, [query])[0])
            spent[place, number] = time.perf_counter() - since
        found.append(tuple(merge(lists, TEN)))
    return spent, found


def _percentiles(spent: np.ndarray) -> dict[str, float]:
    """Milliseconds of seconds [queries, shards]: all shards in turn, and the slowest alone."""
    return {
        f"{name}p{percent}_ms": float(np.percentile(seconds, percent)) * 1000
        for name, seconds in (("", spent.sum(axis=1)), ("slowest_", spent.max(axis=1)))
        for percent in (50, 99)
    }


@contextmanager
def _peak() -> Iterator[list[float]]:
    """The most memory of this process during the block, bytes, looked at twenty times a second."""
    done, peak = threading.Event(), [0.0]

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], _resident("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak[0] = max(peak[0], _resident("RssAnon"))


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    [line] = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024
