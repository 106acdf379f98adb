"""Shards of this process in, the `Searcher` port over them out: no network, and nothing is lost."""

from collections.abc import Sequence

import numpy as np

from llmrec_ray.online.answering import no_item
from llmrec_ray.search.merge import merge
from llmrec_ray.shard import Shard
from llmrec_ray.types import (
    Coverage,
    Float32s,
    Found,
    Gathered,
    Item,
    ItemQuery,
    Looked,
    NearQuery,
    ScoreQuery,
    Shares,
    WeightedEvent,
)


class LocalShards:
    """The search group inside one process: the `Searcher` port over shards that always answer."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards

    async def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Gathered:
        shards, coverage = self._now(generation)
        parts = [shard.gather(generation, events) for shard in shards]
        return Gathered(np.sum(parts, axis=0), coverage)

    async def score(self, generation: str, query: ScoreQuery) -> Found:
        shards, coverage = self._now(generation)
        lists = (shard.score(generation, [query])[0] for shard in shards)
        return Found(merge(lists, query.scope.limit), coverage)

    async def near(self, generation: str, query: NearQuery) -> Found:
        shards, coverage = self._now(generation)
        lists = (shard.near(generation, [query])[0] for shard in shards)
        return Found(merge(lists, query.scope.limit), coverage)

    async def near_item(self, generation: str, query: ItemQuery) -> Found:
        shards, coverage = self._now(generation)
        for shard in shards:
            _, vectors = shard.lookup(generation, [query.item_id])
            if query.item_id in vectors:
                near = query.at(vectors[query.item_id])
                lists = (one.near(generation, [near])[0] for one in shards)
                return Found(merge(lists, query.scope.limit), coverage)
        raise no_item(query.item_id, coverage)

    async def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Shares:
        shards, coverage = self._now(generation)
        parts = [shard.shares(generation, events, targets) for shard in shards]
        return Shares(np.sum(parts, axis=0), coverage)

    async def lookup(self, generation: str, item_ids: Sequence[str]) -> Looked:
        shards, coverage = self._now(generation)
        items: dict[str, Item] = {}
        vectors: dict[str, Float32s] = {}
        for shard in shards:
            found, their_vectors = shard.lookup(generation, item_ids)
            items |= found
            vectors |= their_vectors
        return Looked(items, vectors, coverage)

    def _now(self, generation: str) -> tuple[list[Shard], Coverage]:
        shards = [shard.still() for shard in self._shards]
        positions = [at for shard in shards if (at := shard.position(generation)) is not None]
        return shards, Coverage(len(shards), len(shards), min(positions, default=None))
