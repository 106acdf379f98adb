"""A segment and a shard's buckets in; of its tables what is alive and theirs, when asked for, out.

A table is read anew each time, so that a shard holds one at a time, and reads none that it has.
"""

from functools import cached_property

import numpy as np
import pyarrow as pa

from llmrec_ray.generation.buckets import buckets_of
from llmrec_ray.generation.draft import ITEMS
from llmrec_ray.generation.live_rows import alive, dead_rows
from llmrec_ray.generation.manifest import Segment
from llmrec_ray.generation.published import read_object
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.storage.columns import each_text
from llmrec_ray.storage.links import links_of
from llmrec_ray.types import Bools


class OwnedSegment:
    """What a shard owns of one segment; reading raises `Corrupt` where an object is damaged."""

    def __init__(self, store: ObjectStore, segment: Segment, buckets: range) -> None:
        self._store = store
        self._segment = segment
        self._buckets = buckets

    @property
    def count(self) -> int:
        """Its rows."""
        kept = self._kept
        return self._segment.rows if kept is None else int(np.count_nonzero(kept))

    @property
    def items(self) -> pa.Table:
        return self._rows(ITEMS)

    @property
    def text(self) -> pa.Table:
        return self._rows("text")

    @property
    def popularity(self) -> pa.Table:
        return self._rows("popularity")

    @property
    def taste(self) -> pa.Table | None:
        """None where the generation was made without events."""
        return self._rows("taste") if "taste" in self._segment.objects else None

    @property
    def neighbours(self) -> pa.Table:
        """Those whose targets are owned."""
        pairs, kept = self._read("neighbours"), self._kept
        return pairs if kept is None else links_of(pairs, kept)

    @cached_property
    def _kept(self) -> Bools | None:
        """Which stored rows are owned and not gone, bool [stored rows]; None where all are."""
        owned, segment = self._buckets, self._segment
        dead = dead_rows(self._store, segment)
        inside = owned.start <= segment.first_bucket and segment.end_bucket <= owned.stop
        if inside and not len(dead):
            return None
        kept = alive(segment.rows + len(dead), dead)
        if not inside:
            buckets = buckets_of(each_text(self._read(ITEMS).column(ITEM_ID)))
            kept &= (buckets >= owned.start) & (buckets < owned.stop)
        return kept

    def _rows(self, name: str) -> pa.Table:
        table, kept = self._read(name), self._kept
        return table if kept is None else table.take(np.flatnonzero(kept))

    def _read(self, name: str) -> pa.Table:
        return read_object(self._store, self._segment.objects[name])
