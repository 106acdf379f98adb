"""One shard of the search group: a manifest in, rows loaded; queries in, best candidates out.

The other half of the online path: `recommender` asks, a shard answers. It holds at most two
generations, so that a request pinned to the previous one is still answered while the callers move
on.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from llmrec_ray.errors import GenerationMissing
from llmrec_ray.generation.buckets import buckets_of, shard_buckets
from llmrec_ray.generation.manifest import Manifest, Segment
from llmrec_ray.generation.published import read_object
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.search import exact
from llmrec_ray.search.filters import mask
from llmrec_ray.search.index import Index, make_index
from llmrec_ray.search.merge import merge
from llmrec_ray.search.originals import Originals
from llmrec_ray.search.segment import MATRICES, Joining, Rows, Tables, in_memory, rows_of
from llmrec_ray.storage.columns import texts
from llmrec_ray.types import (
    Bools,
    Candidate,
    Coverage,
    Filter,
    Float32s,
    Float64s,
    Found,
    Gathered,
    IndexKind,
    Item,
    Looked,
    Mix,
    NearQuery,
    Scope,
    ScoreQuery,
    Shares,
    WeightedEvent,
)

HELD = 2
MASKS = 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """One generation as this shard holds it; `masks` remembers the newest filters."""

    rows: Rows
    mix: Mix
    index: Index | None = None
    masks: OrderedDict[Filter, Bools] = field(default_factory=OrderedDict[Filter, Bools])


class Shard:
    """Owns the items of a range of buckets. Thread-safe; every method is blocking numpy work."""

    def __init__(
        self,
        store: ObjectStore,
        shard: int,
        shards: int,
        *,
        index: IndexKind = "auto",
        originals: Path | None = None,
    ) -> None:
        """Vectors are mapped from files in the folder `originals`; without it, held in memory."""
        self._store = store
        self._index: IndexKind = index
        self._originals = Originals(originals, f"{shard}-of-{shards}-") if originals else None
        self._buckets = shard_buckets(shard, shards)
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = Lock()

    @property
    def held(self) -> tuple[str, ...]:
        """The generations that this shard answers for, oldest first."""
        with self._lock:
            return tuple(self._loaded)

    @property
    def sizes(self) -> dict[str, int]:
        """How many items this shard holds of each generation."""
        with self._lock:
            return {name: len(loaded.rows) for name, loaded in self._loaded.items()}

    def prepare(self, manifest: Manifest) -> None:
        """Load a generation's rows and derive their index.

        After `Corrupt` or `StoreUnavailable` it keeps what it had.
        """
        if manifest.generation in self.held:
            return
        tables = [self._tables(segment) for segment in manifest.segments if self._overlaps(segment)]
        rows = rows_of(tables, self._joining(manifest))
        loaded = Loaded(rows, manifest.mix, make_index(rows, self._index))
        with self._lock:
            self._loaded[manifest.generation] = loaded
            while len(self._loaded) > HELD:
                self._loaded.popitem(last=False)
            held = list(self._loaded)
        if self._originals is not None:
            self._originals.forget([f"{name}-{part}" for name in held for part in MATRICES])

    def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Float64s:
        """Σ w [τ q ; γ t] over the events whose items this shard owns, float64 [dim]."""
        held = self._get(generation)
        return exact.gather(held.rows, events, held.mix)

    def score(self, generation: str, queries: Sequence[ScoreQuery]) -> list[list[Candidate]]:
        held = self._get(generation)
        return exact.score(
            held.rows, queries, held.mix, lambda scope: self._allowed(held, scope), held.index
        )

    def near(self, generation: str, queries: Sequence[NearQuery]) -> list[list[Candidate]]:
        held = self._get(generation)
        return exact.near(held.rows, queries, lambda scope: self._allowed(held, scope), held.index)

    def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Float64s:
        """Shares through vectors of the events whose items are here, float64 [events, targets]."""
        held = self._get(generation)
        return exact.vector_shares(held.rows, events, targets, held.mix)

    def lookup(
        self, generation: str, item_ids: Sequence[str]
    ) -> tuple[dict[str, Item], dict[str, Float32s]]:
        """The items among `item_ids` that this shard owns, and their text vectors float32 [dim]."""
        rows = self._get(generation).rows
        found = {item_id: rows.row_of[item_id] for item_id in item_ids if item_id in rows.row_of}
        items = {item_id: rows.item(row) for item_id, row in found.items()}
        return items, {item_id: rows.text[row] for item_id, row in found.items()}

    def _get(self, generation: str) -> Loaded:
        with self._lock:
            loaded = self._loaded.get(generation)
        if loaded is None:
            raise GenerationMissing(
                f"this shard does not hold generation {generation}; ask again for the one before.",
                generation=generation,
            )
        return loaded

    def _joining(self, manifest: Manifest) -> Joining:
        """A generation's id is a hash of its content, and so names its matrices."""
        originals = self._originals
        if originals is None:
            return in_memory
        return lambda name, parts: originals.mapped(f"{manifest.generation}-{name}", parts)

    def _overlaps(self, segment: Segment) -> bool:
        owned = self._buckets
        return segment.first_bucket < owned.stop and owned.start < segment.end_bucket

    def _tables(self, segment: Segment) -> Tables:
        """A segment's tables, cut to the buckets of this shard where it reaches beyond them."""
        read = {name: read_object(self._store, ref) for name, ref in segment.objects.items()}
        tables = Tables(
            read["items"],
            read["text"],
            read["popularity"],
            read["neighbours"],
            read.get("taste"),
        )
        owned = self._buckets
        if owned.start <= segment.first_bucket and segment.end_bucket <= owned.stop:
            return tables
        buckets = buckets_of(texts(tables.items, ITEM_ID))
        return tables.cut((buckets >= owned.start) & (buckets < owned.stop))

    def _allowed(self, held: Loaded, scope: Scope) -> Bools:
        allowed = np.ones(len(held.rows), dtype=np.bool_)
        if scope.filter is not None:
            allowed = self._mask(held, scope.filter).copy()
        excluded = [row for i in scope.exclude if (row := held.rows.row_of.get(i)) is not None]
        allowed[excluded] = False
        return allowed

    def _mask(self, held: Loaded, condition: Filter) -> Bools:
        with self._lock:
            if (known := held.masks.get(condition)) is not None:
                held.masks.move_to_end(condition)
                return known
        made = mask(condition, held.rows.items)
        with self._lock:
            held.masks[condition] = made
            while len(held.masks) > MASKS:
                held.masks.popitem(last=False)
        return made


class LocalShards:
    """The search group inside one process: the `Searcher` port over shards that always answer."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._coverage = Coverage(len(shards), len(shards))

    async def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Gathered:
        parts = [shard.gather(generation, events) for shard in self._shards]
        return Gathered(np.sum(parts, axis=0), self._coverage)

    async def score(self, generation: str, query: ScoreQuery) -> Found:
        return self._found((s.score(generation, [query])[0] for s in self._shards), query.scope)

    async def near(self, generation: str, query: NearQuery) -> Found:
        return self._found((s.near(generation, [query])[0] for s in self._shards), query.scope)

    async def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Shares:
        parts = [shard.shares(generation, events, targets) for shard in self._shards]
        return Shares(np.sum(parts, axis=0), self._coverage)

    async def lookup(self, generation: str, item_ids: Sequence[str]) -> Looked:
        items: dict[str, Item] = {}
        vectors: dict[str, Float32s] = {}
        for shard in self._shards:
            found, their_vectors = shard.lookup(generation, item_ids)
            items |= found
            vectors |= their_vectors
        return Looked(items, vectors, self._coverage)

    def _found(self, lists: Iterable[Sequence[Candidate]], scope: Scope) -> Found:
        return Found(merge(lists, scope.limit), self._coverage)
