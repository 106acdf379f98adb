"""One shard of the search group: a manifest in, rows loaded; queries in, best candidates out.

The other half of the online path: `recommender` asks, a shard answers. It holds at most two
generations, so that a request pinned to the previous one is still answered while the callers move
on.
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np

from llmrec_ray.errors import EventStoreUnavailable, GenerationMissing
from llmrec_ray.generation.buckets import bucket_of, buckets_of, shard_buckets
from llmrec_ray.generation.manifest import Manifest, Segment
from llmrec_ray.generation.published import read_object
from llmrec_ray.item_log import ItemLog, read_since
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.search import exact
from llmrec_ray.search.delta import Delta, delta_of
from llmrec_ray.search.filters import mask
from llmrec_ray.search.index import Index, make_index
from llmrec_ray.search.merge import merge
from llmrec_ray.search.originals import Originals
from llmrec_ray.search.segment import MATRICES, Joining, Rows, Tables, in_memory, rows_of
from llmrec_ray.storage.columns import texts
from llmrec_ray.types import (
    Bools,
    Candidate,
    Filter,
    Float32s,
    Float64s,
    IndexKind,
    Item,
    Mix,
    NearQuery,
    Scope,
    ScoreQuery,
    WeightedEvent,
)

HELD = 2
MASKS = 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """One generation as this shard holds it, and what changed since by the item log.

    `encoder` is the hash of what made its vectors; `masks` remembers the newest filters.
    """

    rows: Rows
    mix: Mix
    encoder: str
    delta: Delta
    index: Index | None = None
    masks: OrderedDict[Filter | None, Bools] = field(
        default_factory=OrderedDict[Filter | None, Bools]
    )


class Shard:
    """Owns the items of a range of buckets. Thread-safe; every method is blocking numpy work."""

    def __init__(
        self,
        store: ObjectStore,
        shard: int,
        shards: int,
        log: ItemLog | None = None,
        *,
        index: IndexKind = "auto",
        originals: Path | None = None,
    ) -> None:
        """Without a `log` it answers from generations alone.

        Vectors are mapped from files in the folder `originals`; without it, held in memory.
        """
        self._store = store
        self._log = log
        self._index: IndexKind = index
        self._originals = Originals(originals, f"{shard}-of-{shards}-") if originals else None
        self._buckets = shard_buckets(shard, shards)
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = Lock()
        self._tailing = Lock()

    @property
    def held(self) -> tuple[str, ...]:
        """The generations that this shard answers for, oldest first."""
        with self._lock:
            return tuple(self._loaded)

    @property
    def sizes(self) -> dict[str, int]:
        """How many items this shard holds of each generation."""
        with self._lock:
            return {
                name: len(loaded.rows) - len(loaded.delta.hidden) + len(loaded.delta.rows)
                for name, loaded in self._loaded.items()
            }

    @property
    def deltas(self) -> dict[str, Delta]:
        """What changed since each generation was made, as far as it is applied here."""
        with self._lock:
            return {name: loaded.delta for name, loaded in self._loaded.items()}

    def prepare(self, manifest: Manifest) -> None:
        """Load a generation's rows and derive their index.

        After `Corrupt` or `StoreUnavailable` it keeps what it had.
        """
        if manifest.generation in self.held:
            return
        tables = [self._tables(segment) for segment in manifest.segments if self._overlaps(segment)]
        rows = rows_of(tables, np.array(manifest.text_mean), self._joining(manifest))
        encoder = manifest.encoder.hash
        delta = delta_of(rows, {}, manifest.item_seq, encoder)
        loaded = Loaded(rows, manifest.mix, encoder, delta, make_index(rows, self._index))
        with self._tailing:
            # Without the log, what is published is better than nothing; `catch_up` tries again.
            with suppress(EventStoreUnavailable):
                loaded = self._caught_up(loaded)
            with self._lock:
                self._loaded[manifest.generation] = loaded
                while len(self._loaded) > HELD:
                    self._loaded.popitem(last=False)
                kept = list(self._loaded)
        if self._originals is not None:
            self._originals.forget([f"{name}-{part}" for name in kept for part in MATRICES])

    def catch_up(self) -> None:
        """Apply what the item log has by now; after an error it keeps what it had."""
        with self._tailing:
            with self._lock:
                held = list(self._loaded.items())
            for generation, loaded in held:
                newer = self._caught_up(loaded)
                with self._lock:
                    self._loaded[generation] = newer

    def still(self) -> "Shard":
        """This shard as it is now: what it holds and applies later does not show in it."""
        seen = copy(self)
        with self._lock:
            seen._loaded = OrderedDict(self._loaded)  # noqa: SLF001 it is of this very class
        return seen

    def position(self, generation: str) -> int | None:
        """Up to where the item log is applied to a generation; None where it is not held."""
        with self._lock:
            loaded = self._loaded.get(generation)
        return loaded.delta.position if loaded else None

    def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Float64s:
        """Σ w [τ q ; γ (t - mean)] over the events whose items this shard owns, float64 [dim]."""
        held = self._get(generation)
        unchanged = [event for event in events if event.item_id not in held.delta.changes]
        return exact.gather(held.rows, unchanged, held.mix) + exact.gather(
            held.delta.rows, events, held.mix
        )

    def score(self, generation: str, queries: Sequence[ScoreQuery]) -> list[list[Candidate]]:
        held = self._get(generation)
        found = exact.score(
            held.rows, queries, held.mix, lambda scope: self._allowed(held, scope), held.index
        )
        live = held.delta.rows
        if not len(live):
            return found
        beside = exact.score(live, queries, held.mix, lambda scope: _allowed_live(live, scope))
        return _together(found, beside, queries)

    def near(self, generation: str, queries: Sequence[NearQuery]) -> list[list[Candidate]]:
        held = self._get(generation)
        found = exact.near(held.rows, queries, lambda scope: self._allowed(held, scope), held.index)
        live = held.delta.rows
        if not len(live):
            return found
        beside = exact.near(live, queries, lambda scope: _allowed_live(live, scope))
        return _together(found, beside, queries)

    def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Float64s:
        """Shares through vectors of the events whose items are here, float64 [events, targets]."""
        held = self._get(generation)
        shares = exact.vector_shares(held.rows, events, targets, held.mix)
        shares[[event.item_id in held.delta.changes for event in events]] = 0.0
        return shares + exact.vector_shares(held.delta.rows, events, targets, held.mix)

    def lookup(
        self, generation: str, item_ids: Sequence[str]
    ) -> tuple[dict[str, Item], dict[str, Float32s]]:
        """The items among `item_ids` that this shard owns, and their text vectors float32 [dim]."""
        held = self._get(generation)
        items: dict[str, Item] = {}
        vectors: dict[str, Float32s] = {}
        for item_id in item_ids:
            rows = held.delta.rows if item_id in held.delta.changes else held.rows
            if (row := rows.row_of.get(item_id)) is not None:
                items[item_id], vectors[item_id] = rows.item(row), rows.text[row]
        return items, vectors

    def _caught_up(self, loaded: Loaded) -> Loaded:
        if self._log is None:
            return loaded
        before, owned = loaded.delta, self._buckets
        newer, position = read_since(
            self._log, before.position, lambda one: bucket_of(one) in owned
        )
        if not newer:
            return replace(loaded, delta=replace(before, position=position))
        changes = {**before.changes, **newer}
        return replace(loaded, delta=delta_of(loaded.rows, changes, position, loaded.encoder))

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
        passing = self._mask(held, scope.filter)
        excluded = [row for i in scope.exclude if (row := held.rows.row_of.get(i)) is not None]
        if not (excluded or len(held.delta.hidden)):
            return passing
        allowed = passing.copy()
        allowed[excluded] = False
        allowed[held.delta.hidden] = False
        return allowed

    def _mask(self, held: Loaded, condition: Filter | None) -> Bools:
        """The rows that pass, all without a filter; remembered, so not to be written to."""
        with self._lock:
            if (known := held.masks.get(condition)) is not None:
                held.masks.move_to_end(condition)
                return known
        everything = np.ones(len(held.rows), np.bool_)
        made = mask(condition, held.rows.items) if condition is not None else everything
        with self._lock:
            held.masks[condition] = made
            while len(held.masks) > MASKS:
                held.masks.popitem(last=False)
        return made


def _allowed_live(rows: Rows, scope: Scope) -> Bools:
    allowed = np.array([item_id not in scope.exclude for item_id in rows.ids], np.bool_)
    return allowed if scope.filter is None else allowed & mask(scope.filter, rows.items)


def _together(
    found: Sequence[Sequence[Candidate]],
    beside: Sequence[Sequence[Candidate]],
    queries: Sequence[ScoreQuery] | Sequence[NearQuery],
) -> list[list[Candidate]]:
    """The best of both for each query."""
    return [
        list(merge(both, query.scope.limit))
        for query, *both in zip(queries, found, beside, strict=True)
    ]
