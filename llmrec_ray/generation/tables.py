"""A draft and its placement in, the table of every object to store out; what stays, by its name.

A row that is gone keeps what it held while nothing was learned anew, so that its object stays as
it is; after a training it holds nothing, since what was learned of it may be of a forgotten user.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import InvalidInput
from llmrec_ray.generation.draft import ITEMS, TOMBSTONES, ChannelTable, Draft
from llmrec_ray.generation.manifest import Manifest, ObjectRef
from llmrec_ray.generation.placement import Part
from llmrec_ray.generation.published import read_object
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import (
    POPULARITY,
    ROW,
    SOURCE,
    STORED_NEIGHBOURS_SCHEMA,
    TARGET,
    TOMBSTONES_SCHEMA,
    WEIGHT,
)
from llmrec_ray.storage.columns import (
    dictionary,
    numbers,
    places_in,
    ranks,
    vectors,
    vectors_column,
    wholes,
)
from llmrec_ray.storage.spill import gathered
from llmrec_ray.types import Float32s, Ints


@dataclass(frozen=True, slots=True)
class Tables:
    """What to store of a draft; `base` is the generation whose segments go on, if any do."""

    store: ObjectStore
    draft: Draft
    item_ids: pa.StringArray
    parts: Sequence[Part]
    base: Manifest | None

    def count(self) -> int:
        """How many objects `objects` yields."""
        dead = sum(bool(len(part.dead)) for part in self.parts)
        return len(self.parts) * (1 + len(self.draft.channels)) + dead

    def objects(self) -> Iterator[tuple[int, str, pa.Table | ObjectRef]]:
        """The segment's number, the object's name, and its table or where it is stored already."""
        for number, part in enumerate(self.parts):
            if len(dead := part.dead):
                column = pa.array(dead.astype(np.int32))
                yield number, TOMBSTONES, pa.table([column], schema=TOMBSTONES_SCHEMA)
        yield from self._stays(ITEMS, self.draft.items)
        for channel in self.draft.channels:
            if channel.kind == "text":
                yield from self._stays(channel.name, channel.table)
            elif channel.kind == "neighbours":
                yield from self._neighbours(channel)
            else:
                for number, part in enumerate(self.parts):
                    yield number, channel.name, self._learned(part, channel)

    def _stays(self, name: str, table: pa.Table) -> Iterator[tuple[int, str, pa.Table | ObjectRef]]:
        for number, part in enumerate(self.parts):
            stored = part.stored
            yield number, name, stored.objects[name] if stored else gathered(table, part.rows)

    def _before(self, part: Part, channel: ChannelTable) -> pa.Table | None:
        """What the segment held, where that was learned by the same training."""
        base, draft = self.base, self.draft
        if part.stored is None or base is None or not len(part.dead):
            return None
        same = (base.events, base.trained_until) == (draft.events, draft.trained_until)
        known = {each.name: (each.kind, each.dim) for each in base.channels}
        if not same or known.get(channel.name) != (channel.kind, channel.dim):
            return None
        return read_object(self.store, part.stored.objects[channel.name])

    def _learned(self, part: Part, channel: ChannelTable) -> pa.Table:
        """Row-aligned values, with what was before, or zeros, in rows that are gone."""
        if not len(part.dead):
            return gathered(channel.table, part.rows)
        before = self._before(part, channel)
        columns = [
            _filled(channel.table, name, part.rows, before) for name in channel.table.schema.names
        ]
        return pa.table(columns, schema=channel.table.schema)

    def _neighbours(self, channel: ChannelTable) -> Iterator[tuple[int, str, pa.Table]]:
        """The pairs of each segment, by (source, row of the target)."""
        owner, local = self._places()
        targets = self._rows_of_targets(channel)
        known = np.flatnonzero(targets >= 0)
        owners = owner[targets[known]]
        by_owner = known[np.argsort(owners, kind="stable")]
        cuts = np.searchsorted(np.sort(owners), np.arange(len(self.parts) + 1))
        for number, part in enumerate(self.parts):
            pairs = by_owner[cuts[number] : cuts[number + 1]]
            rows = pa.array(local[targets[pairs]].astype(np.int32))
            taken = channel.table.take(pairs)
            columns = [taken.column(SOURCE), rows, taken.column(WEIGHT)]
            table = pa.table(columns, schema=STORED_NEIGHBOURS_SCHEMA)
            if (before := self._before(part, channel)) is not None:
                gone = np.isin(wholes(before, ROW), part.dead)
                table = pa.concat_tables([table, before.take(np.flatnonzero(gone))])
            yield number, channel.name, _sorted(table, channel.name)

    def _places(self) -> tuple[Ints, Ints]:
        """The part and the row in it of every row of the draft."""
        owner = np.zeros(len(self.item_ids), np.int64)
        local = np.zeros(len(self.item_ids), np.int64)
        for number, part in enumerate(self.parts):
            live = np.flatnonzero(part.rows >= 0)
            owner[part.rows[live]] = number
            local[part.rows[live]] = live
        return owner, local

    def _rows_of_targets(self, channel: ChannelTable) -> Ints:
        """The row of each pair's target, int64 [pairs]; -1 where it is not an item."""
        names, codes = dictionary(channel.table, TARGET)
        row_of = places_in(names, self.item_ids)
        if len(names) and np.all(row_of < 0):
            raise InvalidInput(
                f"channel {channel.name!r}: no neighbour is an item of the catalogue. Learn from"
                " events whose item ids are those of the catalogue.",
                channel=channel.name,
            )
        return row_of[codes]


def _filled(table: pa.Table, name: str, rows: Ints, before: pa.Table | None) -> "pa.Array[Any]":
    live = rows >= 0
    if name == POPULARITY:
        new = numbers(table, name).astype(np.float32)
        old = None if before is None else numbers(before, name).astype(np.float32)
        return pa.array(_mixed(new, old, rows, live))
    old = None if before is None else vectors(before, name)
    return vectors_column(_mixed(vectors(table, name), old, rows, live))


def _mixed(new: Float32s, old: Float32s | None, rows: Ints, live: np.ndarray) -> Float32s:
    mixed = np.zeros((len(rows), *new.shape[1:]), np.float32) if old is None else old.copy()
    mixed[live] = new[rows[live]]
    return mixed


def _sorted(pairs: pa.Table, name: str) -> pa.Table:
    """By (source, row); `InvalidInput` where a pair occurs twice."""
    names, codes = dictionary(pairs, SOURCE)
    rows = wholes(pairs, ROW)
    order = np.lexsort((rows, ranks(names)[codes]))
    if np.any((np.diff(rows[order]) == 0) & (np.diff(codes[order]) == 0)):
        raise InvalidInput(
            f"channel {name!r}: a pair of neighbours occurs twice; add up its weights.",
            channel=name,
        )
    return pairs.take(order)
