"""Our own system as it runs: learnt by the pipeline, published, loaded by a shard, and asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np

from llmrec_ray.evaluation.data import Ask, Catalog, Past, Ranker
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.user import fold
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.online.shares import Pull, prior_factor
from llmrec_ray.pipeline import learn
from llmrec_ray.ports import History
from llmrec_ray.settings import LearningSettings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Bools, Ints, Scope, ScoreQuery

BLOCK = 64
"""Asks a call to the shard."""

STORED = 5_000
"""Events a transaction."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What `llmrec` learns by these settings; a user's newest `history` events count."""

    learning: LearningSettings
    history: int = 500
    name: str = "llmrec"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        with TemporaryDirectory(prefix="llmrec-evaluate-") as folder:
            store = FolderStore(Path(folder) / "objects")
            manifest = self._published(catalog, train, Path(folder), store)
            shard = Shard(store, shard=0, shards=1)
            shard.prepare(manifest)
        return Served(shard, manifest, catalog.ids, self.history)

    def _published(
        self, catalog: Catalog, train: Sequence[Past], folder: Path, store: FolderStore
    ) -> Manifest:
        """Train on the events of an event store, as `publish` does."""
        url = f"sqlite:///{folder / 'events.db'}"
        with open_event_store(url, timeout_s=60, ttl_s=60) as events:
            every = [event for past in train for event in past.events]
            for start in range(0, len(every), STORED):
                events.append(every[start : start + STORED])
            draft = learn(
                catalog.cleaned,
                catalog.vectors,
                events,
                encoder=catalog.encoder,
                learning=self.learning,
            )
        return publish(store, draft)


class Served:
    """One generation in a shard of this process: fold, gather, exact score, as online."""

    def __init__(self, shard: Shard, manifest: Manifest, ids: Sequence[str], history: int) -> None:
        self._shard = shard
        self._manifest = manifest
        self._ids = ids
        self._code_of = {item_id: code for code, item_id in enumerate(ids)}
        self._history = history

    def rank(self, asks: Sequence[Ask], allowed: Bools, limit: int) -> Ints:
        outside = self._named(np.flatnonzero(~allowed))
        ranked = np.full((len(asks), limit), -1, dtype=np.int64)
        for start in range(0, len(asks), BLOCK):
            block = asks[start : start + BLOCK]
            queries = [self._query(ask, outside, limit) for ask in block]
            found = self._shard.score(self._manifest.generation, queries)
            for row, candidates in enumerate(found, start):
                codes = [self._code_of[candidate.item_id] for candidate in candidates]
                ranked[row, : len(codes)] = codes
        return ranked

    def _query(self, ask: Ask, outside: frozenset[str], limit: int) -> ScoreQuery:
        newest = ask.past.events[-self._history :]
        state = fold(History(len(newest), newest), self._manifest.weights)
        vector = self._shard.gather(self._manifest.generation, state.events)
        pull = Pull(state.events, (), vector, spoken=None, coverages=())
        return ScoreQuery(
            events=state.events,
            vector=vector,
            prior=prior_factor(pull, self._manifest.mix),
            scope=Scope(limit, exclude=outside | self._named(ask.masked)),
        )

    def _named(self, codes: Ints) -> frozenset[str]:
        return frozenset(self._ids[code] for code in cast("list[int]", codes.tolist()))
