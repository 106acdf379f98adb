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
from numpy.typing import NDArray

from llmrec_ray.errors import EventStoreUnavailable, GenerationMissing
from llmrec_ray.generation.buckets import bucket_of, shard_buckets
from llmrec_ray.generation.held import Held
from llmrec_ray.generation.manifest import Manifest, Segment
from llmrec_ray.generation.owned import OwnedSegment
from llmrec_ray.items.log import ItemLog, read_since
from llmrec_ray.ports import ObjectStore
from llmrec_ray.search import exact
from llmrec_ray.search.delta import Delta, delta_of, extended
from llmrec_ray.search.filters import mask
from llmrec_ray.search.index import Index, make_index
from llmrec_ray.search.keeping import Keeping
from llmrec_ray.search.merge import merge
from llmrec_ray.search.originals import Mapping, Originals
from llmrec_ray.search.segment import MATRICES, TABLES, Rows, rows_of
from llmrec_ray.storage.spare import give_back
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

Bits = NDArray[np.uint8]

MASKS = 64
PARTS = (*MATRICES, *TABLES)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One generation as this shard holds it, and what changed since by the item log.

    `encoder` is the hash of what made its vectors; `masks` remembers the newest filters, a bit a
    row.
    """

    rows: Rows
    mix: Mix
    encoder: str
    delta: Delta
    index: Index | None = None
    masks: OrderedDict[Filter, Bits] = field(default_factory=OrderedDict[Filter, Bits])


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

        Vectors, items and neighbours are mapped from files in the folder `originals`; without it,
        held in memory.
        """
        self._store = store
        self._log = log
        self._index: IndexKind = index
        self._originals = Originals(originals, f"{shard}-of-{shards}-") if originals else None
        self._buckets = shard_buckets(shard, shards)
        self._loaded = Held[Loaded]()
        self._lock = Lock()
        self._tailing = Lock()

    @property
    def held(self) -> tuple[str, ...]:
        """The generations that this shard answers for, oldest first."""
        return tuple(self._loaded.now())

    @property
    def sizes(self) -> dict[str, int]:
        """How many items this shard holds of each generation."""
        return {
            name: len(loaded.rows) - len(loaded.delta.hidden) + loaded.delta.alive
            for name, loaded in self._loaded.now().items()
        }

    @property
    def deltas(self) -> dict[str, Delta]:
        """What changed since each generation was made, as far as it is applied here."""
        return {name: loaded.delta for name, loaded in self._loaded.now().items()}

    def in_the_way(self, generation: str) -> str | None:
        """The generation that callers still ask for, and would lose if this one were loaded."""
        return self._loaded.in_the_way(generation)

    def prepare(self, manifest: Manifest) -> None:
        """Load a generation's rows and derive their index.

        After `Corrupt` or `StoreUnavailable` it keeps what it had.
        """
        if self._loaded.wanted(manifest.generation):
            return
        owned = [
            OwnedSegment(self._store, segment, self._buckets)
            for segment in manifest.segments
            if self._overlaps(segment)
        ]
        rows = rows_of(owned, np.array(manifest.text_mean), self._keeping(manifest))
        encoder = manifest.encoder.hash
        delta = delta_of(rows, {}, manifest.item_seq, encoder)
        loaded = Loaded(rows, manifest.mix, encoder, delta, make_index(rows, self._index))
        with self._tailing:
            # Without the log, what is published is better than nothing; `catch_up` tries again.
            with suppress(EventStoreUnavailable):
                loaded = self._caught_up(loaded)
            self._loaded.put(manifest.generation, loaded)
            kept = self.held
        if self._originals is not None:
            self._originals.forget([f"{name}-{part}" for name in kept for part in PARTS])
        give_back()

    def catch_up(self) -> None:
        """Apply what the item log has by now; after an error it keeps what it had."""
        with self._tailing:
            for generation, loaded in self._loaded.now().items():
                self._loaded.change(generation, self._caught_up(loaded))

    def still(self) -> "Shard":
        """This shard as it is now: what it holds and applies later does not show in it."""
        seen = copy(self)
        seen._loaded = self._loaded.still()  # noqa: SLF001 it is of this very class
        return seen

    def position(self, generation: str) -> int | None:
        """Up to where the item log is applied to a generation; None where it is not held."""
        loaded = self._loaded.asked(generation)
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
        beside = exact.score(live, queries, held.mix, held.delta.allowed)
        return _together(found, beside, queries)

    def near(self, generation: str, queries: Sequence[NearQuery]) -> list[list[Candidate]]:
        held = self._get(generation)
        found = exact.near(held.rows, queries, lambda scope: self._allowed(held, scope), held.index)
        live = held.delta.rows
        if not len(live):
            return found
        beside = exact.near(live, queries, held.delta.allowed)
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
        delta = extended(before, loaded.rows, newer, position, loaded.encoder)
        return replace(loaded, delta=delta)

    def _get(self, generation: str) -> Loaded:
        loaded = self._loaded.asked(generation)
        if loaded is None:
            raise GenerationMissing(
                f"this shard does not hold generation {generation}; ask again for the one before.",
                generation=generation,
            )
        return loaded

    def _keeping(self, manifest: Manifest) -> Keeping | None:
        """A generation's id is a hash of its content, and so names its files."""
        return self._originals and Mapping(self._originals, manifest.generation)

    def _overlaps(self, segment: Segment) -> bool:
        owned = self._buckets
        return segment.first_bucket < owned.stop and owned.start < segment.end_bucket

    def _allowed(self, held: Loaded, scope: Scope) -> Bools:
        allowed = np.ones(len(held.rows), dtype=np.bool_)
        if scope.filter is not None:
            allowed = self._mask(held, scope.filter)
        excluded = [row for i in scope.exclude if (row := held.rows.row_of.get(i)) is not None]
        allowed[excluded] = False
        allowed[held.delta.hidden] = False
        return allowed

    def _mask(self, held: Loaded, condition: Filter) -> Bools:
        """The rows that pass, all without a filter; remembered, so not to be written to."""
        with self._lock:
            if (known := held.masks.get(condition)) is not None:
                held.masks.move_to_end(condition)
        if known is not None:
            return np.unpackbits(known, count=len(held.rows)).view(np.bool_)
        made = mask(condition, held.rows.items)
        with self._lock:
            held.masks[condition] = np.packbits(made)
            while len(held.masks) > MASKS:
                held.masks.popitem(last=False)
        return made


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
