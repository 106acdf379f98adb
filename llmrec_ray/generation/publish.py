"""Publishing: from a draft to the objects and the manifest of a generation."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import pairwise
from typing import cast

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import InvalidInput
from llmrec_ray.generation.buckets import BUCKETS, buckets_of
from llmrec_ray.generation.draft import ITEMS, ChannelTable, Draft, checked
from llmrec_ray.generation.leases import renew, writing
from llmrec_ray.generation.manifest import Channel, Encoder, Manifest, ObjectRef, Segment
from llmrec_ray.generation.published import OBJECTS, load_manifest, manifest_key
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import (
    ITEM_ID,
    ROW,
    SOURCE,
    TARGET,
)
from llmrec_ray.storage.columns import (
    dictionary,
    each_text,
    order_of,
    places_in,
    ranks,
    vectors,
    whole,
)
from llmrec_ray.storage.tables import put_table
from llmrec_ray.types import Float64s, Ints

ROWS_OF_A_SEGMENT = 65_536
FEWEST_SEGMENTS = 8
ID_BYTES = 6
MEAN_DIGITS = 7

Progress = Callable[[int, int], None]
"""Called with the number of objects done and of all objects."""


def publish(
    store: ObjectStore,
    draft: Draft,
    *,
    segments: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Store a generation and return its manifest; what is stored already is not sent again.

    The manifest goes last, so an interrupted publish leaves nothing visible and is simply repeated.
    `Conflict` where a collection is deleting what it needs.

    The id is a hash of the content: equal drafts are one generation, and the manifest of the first
    publish stands.

    Neighbours whose target is not an item are left out, since they could never be answered; where
    all are, the ids do not belong together, and the draft is refused. A source need not be an item:
    one that left the catalogue still leads its users to its neighbours.
    """
    draft = checked(draft)
    _check_segments(segments)
    sliced = _Sliced.of(draft, segments)
    refs: list[dict[str, ObjectRef]] = [{} for _ in range(sliced.segments)]
    total = sliced.segments * (1 + len(draft.channels))
    with writing(store) as lease:
        for done, (number, name, table) in enumerate(sliced.objects(draft), start=1):
            renew(store, lease)
            stored = put_table(store, OBJECTS, table)
            lease.require(stored.key)
            refs[number][name] = ObjectRef(key=stored.key, hash=stored.hash, bytes=stored.bytes)
            if progress:
                progress(done, total)
        renew(store, lease)
        manifest = _manifest(draft, sliced.described(refs))
        lease.require(manifest_key(manifest.generation))
        return _create(store, manifest)


@dataclass(frozen=True, slots=True)
class _Sliced:
    """The rows of a draft by (bucket, item id), cut into segments of equal ranges of buckets.

    `order` sorts the rows; segment i has the sorted rows bounds[i] … bounds[i + 1].
    """

    order: Ints
    item_ids: pa.StringArray
    bounds: Ints

    @classmethod
    def of(cls, draft: Draft, segments: int | None) -> "_Sliced":
        item_ids = draft.items.column(ITEM_ID)
        buckets = buckets_of(each_text(item_ids))
        order = order_of(buckets, item_ids)
        starts = np.concatenate([[0], np.cumsum(np.bincount(buckets, minlength=BUCKETS))])
        bounds = starts[:: BUCKETS // (segments or _enough(starts))]
        return cls(
            order,
            cast(pa.StringArray, whole(draft.items.select([ITEM_ID]).take(order), ITEM_ID)),
            bounds,
        )

    @property
    def segments(self) -> int:
        return len(self.bounds) - 1

    def objects(self, draft: Draft) -> Iterator[tuple[int, str, pa.Table]]:
        """Every object to store: the segment's number, the object's name, its table."""
        yield from self._aligned(ITEMS, draft.items)
        for channel in draft.channels:
            if channel.kind == "neighbours":
                yield from self._neighbours(channel)
            else:
                yield from self._aligned(channel.name, channel.table)

    def described(self, refs: Sequence[dict[str, ObjectRef]]) -> tuple[Segment, ...]:
        width = BUCKETS // self.segments
        return tuple(
            Segment(
                first_bucket=number * width,
                end_bucket=(number + 1) * width,
                rows=int(self.bounds[number + 1] - self.bounds[number]),
                objects=objects,
            )
            for number, objects in enumerate(refs)
        )

    def _aligned(self, name: str, table: pa.Table) -> Iterator[tuple[int, str, pa.Table]]:
        for number, (start, end) in enumerate(pairwise(self.bounds)):
            yield number, name, table.take(self.order[start:end])

    def _neighbours(self, channel: ChannelTable) -> Iterator[tuple[int, str, pa.Table]]:
        """The pairs by (segment of the target, source, row of the target)."""
        table = channel.table
        rows = self._rows_of_targets(channel)
        names, codes = dictionary(table, SOURCE)
        rank = ranks(names)
        owners = np.searchsorted(self.bounds, rows, side="right") - 1
        order = np.lexsort((rows, rank[codes], owners))
        order = order[np.count_nonzero(rows < 0) :]  # unknown targets sort before all segments
        sorted_rows, sorted_codes = rows[order], codes[order]
        if np.any((np.diff(sorted_rows) == 0) & (np.diff(sorted_codes) == 0)):
            raise InvalidInput(
                f"channel {channel.name!r}: a pair of neighbours occurs twice; add up its weights.",
                channel=channel.name,
            )
        cuts = np.searchsorted(owners[order], np.arange(self.segments + 1))
        for number, (start, end) in enumerate(pairwise(cuts)):
            part = table.take(order[start:end])
            local = (sorted_rows[start:end] - self.bounds[number]).astype(np.int32)
            row: pa.Int32Array = pa.array(local, pa.int32())
            yield number, channel.name, part.set_column(1, ROW, row)

    def _rows_of_targets(self, channel: ChannelTable) -> Ints:
        """The sorted row of each pair's target, int64 [pairs]; -1 where it is not an item."""
        names, codes = dictionary(channel.table, TARGET)
        row_of = places_in(names, self.item_ids)
        if len(names) and np.all(row_of < 0):
            raise InvalidInput(
                f"channel {channel.name!r}: no neighbour is an item of the catalogue. Learn from"
                " events whose item ids are those of the catalogue.",
                channel=channel.name,
            )
        return row_of[codes]


def _enough(starts: Ints) -> int:
    """The fewest segments (a power of two) that keep each below the limit of rows."""
    count = FEWEST_SEGMENTS
    while count < BUCKETS and np.diff(starts[:: BUCKETS // count]).max() > ROWS_OF_A_SEGMENT:
        count *= 2
    return count


def _check_segments(segments: int | None) -> None:
    if segments is not None and (segments < 1 or BUCKETS % segments):
        raise InvalidInput(
            f"{segments} segments: use a power of two from 1 to {BUCKETS}.", field="segments"
        )


def _manifest(draft: Draft, segments: tuple[Segment, ...]) -> Manifest:
    trained = draft.trained_until
    unnamed = Manifest(
        generation="",
        created_at=datetime.now(UTC),
        encoder=Encoder(name=draft.encoder.name, hash=draft.encoder.hash, dim=draft.encoder.dim),
        weights=draft.weights,
        mix=draft.mix,
        fields=dict(draft.fields),
        channels=tuple(
            Channel(name=each.name, kind=each.kind, dim=each.dim) for each in draft.channels
        ),
        text_mean=draft.text_mean or _text_mean(draft),
        segments=segments,
        items=draft.items.num_rows,
        events=draft.events,
        trained_until=trained.astimezone(UTC) if trained else None,
        validation_ndcg=draft.validation_ndcg,
        passage=draft.passage,
        item_seq=draft.item_seq,
    )
    return unnamed.model_copy(update={"generation": _id(unnamed)})


def _text_mean(draft: Draft) -> tuple[float, ...]:
    """In float32's precision: a shorter text, and the same on every machine."""
    [text] = [channel for channel in draft.channels if channel.kind == "text"]
    mean: Float64s = vectors(text.table).mean(axis=0, dtype=np.float64)
    return tuple(round(float(value), MEAN_DIGITS) for value in mean)


def _id(manifest: Manifest) -> str:
    content = manifest.model_dump(mode="json", exclude={"generation", "created_at"})
    try:
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as cause:
        raise InvalidInput("weights, mix and scales must be finite numbers.") from cause
    return f"g-{blake2b(canonical.encode(), digest_size=ID_BYTES).hexdigest()}"


def _create(store: ObjectStore, manifest: Manifest) -> Manifest:
    data = manifest.model_dump_json(indent=2).encode()
    if store.create(manifest_key(manifest.generation), data):
        return manifest
    return load_manifest(store, manifest.generation)
