"""A draft's rows in, the segments that hold them out: sliced anew, or beside what is stored.

Beside a generation that is stored, its segments stay: rows whose item or text vector is another by
now, or that is gone, become tombstones, and what is new lies in a small segment over all buckets.
Once a quarter of the rows lies so, everything is sliced anew, as `llmrec compact` does at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import Corrupt
from llmrec_ray.generation.buckets import BUCKETS, buckets_of
from llmrec_ray.generation.draft import ITEMS, Draft
from llmrec_ray.generation.live_rows import dead_rows
from llmrec_ray.generation.manifest import Manifest, Segment
from llmrec_ray.generation.published import read_object
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.storage.columns import each_text, order_of, places_in, vectors, whole
from llmrec_ray.storage.same_rows import same_rows
from llmrec_ray.storage.spill import gathered
from llmrec_ray.types import Bools, Ints

ROWS_OF_A_SEGMENT = 65_536
FEWEST_SEGMENTS = 8
MOST_LOOSE = 1 / 4  # of all rows: a shard reads them beside, and tombstoned ones for nothing
MOST_LOOSE_SEGMENTS = 32
COMPARED = 8_192  # vectors at once


@dataclass(frozen=True, slots=True)
class Part:
    """One segment to be; with `stored`, one that goes on, its items and text vectors as they are.

    `rows` has, for each row of the segment, the row of the draft, or -1 where it is gone.
    """

    first_bucket: int
    end_bucket: int
    rows: Ints
    stored: Segment | None = None

    @property
    def dead(self) -> Ints:
        return np.flatnonzero(self.rows < 0)

    @property
    def live(self) -> int:
        """How many rows are not gone."""
        return int(np.count_nonzero(self.rows >= 0))


def sliced(
    item_ids: pa.StringArray, rows: Ints, *, segments: int | None = None, fewest: int = 1
) -> list[Part]:
    """Cut rows (places in `item_ids`) by equal ranges of buckets; in each by (bucket, item id)."""
    ids = item_ids.take(rows)
    buckets = buckets_of(each_text(ids))
    starts = np.concatenate([[0], np.cumsum(np.bincount(buckets, minlength=BUCKETS))])
    count = segments or _enough(starts, fewest)
    width = BUCKETS // count
    bounds = starts[::width]
    ordered = rows[order_of(buckets, ids)]
    return [
        Part(number * width, (number + 1) * width, ordered[bounds[number] : bounds[number + 1]])
        for number in range(count)
    ]


def placed(
    store: ObjectStore, draft: Draft, base: Manifest | None, segments: int | None = None
) -> list[Part]:
    """The segments of a draft: those of `base` and new rows beside, where that is worth while."""
    item_ids = cast(pa.StringArray, whole(draft.items, ITEM_ID))
    anew = np.arange(len(item_ids), dtype=np.int64)
    if base is not None and _continues(draft, base):
        kept = _kept(store, draft, base, item_ids)
        free: Bools = np.ones(len(item_ids), np.bool_)
        for part in kept:
            free[part.rows[part.rows >= 0]] = False
        new = sliced(item_ids, np.flatnonzero(free)) if free.any() else []
        if not is_loose([*kept, *new]):
            return [*kept, *new]
    return sliced(item_ids, anew, segments=segments, fewest=FEWEST_SEGMENTS)


def is_loose(parts: Sequence[Part]) -> bool:
    """Whether too many rows lie beside the ranges of buckets, or some buckets in no segment."""
    beside = overlapping([(part.first_bucket, part.end_bucket) for part in parts])
    gone = sum(len(part.dead) for part in parts)
    loose = sum(len(parts[number].rows) for number in beside)
    tight = set(range(len(parts))) - set(beside)
    covered = sum(parts[number].end_bucket - parts[number].first_bucket for number in tight)
    return (
        covered < BUCKETS
        or len(beside) > MOST_LOOSE_SEGMENTS
        or gone + loose > MOST_LOOSE * sum(part.live for part in parts)
    )


def overlapping(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The places of ranges of buckets that share one with an earlier range."""
    taken: Bools = np.zeros(BUCKETS, np.bool_)
    found: list[int] = []
    for place, (first, end) in enumerate(ranges):
        if taken[first:end].any():
            found.append(place)
        else:
            taken[first:end] = True
    return found


def _kept(store: ObjectStore, draft: Draft, base: Manifest, item_ids: pa.StringArray) -> list[Part]:
    found: list[Part] = []
    for segment in base.segments:
        try:
            rows = _still(store, draft, segment, item_ids)
        except Corrupt:
            continue  # its items are written anew, as if they had changed
        part = Part(segment.first_bucket, segment.end_bucket, rows, segment)
        if part.live:
            found.append(part)
    return found


def _still(store: ObjectStore, draft: Draft, segment: Segment, item_ids: pa.StringArray) -> Ints:
    """For each stored row the draft's row that says the same, int64 [rows], or -1."""
    [text] = [channel for channel in draft.channels if channel.kind == "text"]
    items = read_object(store, segment.objects[ITEMS])
    rows = places_in(cast(pa.StringArray, whole(items, ITEM_ID)), item_ids)
    rows[dead_rows(store, segment)] = -1
    here = np.flatnonzero(rows >= 0)
    other = here[~same_rows(items.take(here), gathered(draft.items, rows[here]))]
    rows[other] = -1
    old, new = vectors(read_object(store, segment.objects[text.name])), vectors(text.table)
    here = np.flatnonzero(rows >= 0)
    for start in range(0, len(here), COMPARED):
        some = here[start : start + COMPARED]
        rows[some[np.any(old[some] != new[rows[some]], axis=1)]] = -1
    return rows


def _continues(draft: Draft, base: Manifest) -> bool:
    """Whether items and text vectors of both are of one kind."""
    [text] = [channel.name for channel in draft.channels if channel.kind == "text"]
    kinds = [(name, spec.kind) for name, spec in draft.fields.items()]
    return (
        base.encoder.hash == draft.encoder.hash
        and base.encoder.dim == draft.encoder.dim
        and [(name, spec.kind) for name, spec in base.fields.items()] == kinds
        and any(each.name == text and each.kind == "text" for each in base.channels)
    )


def _enough(starts: Ints, fewest: int) -> int:
    """The fewest segments (a power of two) that keep each below the limit of rows."""
    count = fewest
    while count < BUCKETS and np.diff(starts[:: BUCKETS // count]).max() > ROWS_OF_A_SEGMENT:
        count *= 2
    return count
