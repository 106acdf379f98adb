"""A shard's rows and the live changes since in; the rows that they hide, and live rows, out.

Live rows are scored by the same exact arithmetic as any others, so an answer merges both by score.
A changed item keeps what was learned of it: its learned vectors, popularity and neighbours. A new
one has none of these until it is trained with.

A change is appended, and marks the row that it replaces as dead, so it costs what it is and not
what the delta has become. When more rows are dead than alive, they are laid out anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llmrec_ray.items.log import ItemChange
from llmrec_ray.items.rows import item_rows
from llmrec_ray.schemas import TITLE
from llmrec_ray.search.filters import mask
from llmrec_ray.search.growing import Growing
from llmrec_ray.search.places import Column
from llmrec_ray.search.segment import Links, Rows
from llmrec_ray.types import Bools, Float32s, Float64s, Ints, Scope

Places = NDArray[np.int32]
NO_ROWS: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Columns:
    """The arrays of the live rows, as `Rows` has them."""

    text: Growing[Float32s]
    norms: Growing[Float64s]
    lengths: Growing[Float64s]
    """The norms of [p ; t]."""
    context: Growing[Float32s]
    target: Growing[Float32s]
    popularity: Growing[Float64s]


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed since the generation was made, up to `position` of the item log.

    `changes` are those of this shard; `hidden` int64: the generation's rows that are changed or
    deleted; `rows`: the live items, of which the `dead` (int64) were changed again or deleted.
    `strange` are ids of items whose vectors another encoder made: such a vector cannot be compared
    with the others, so the item is hidden until a compaction has embedded it anew.
    """

    position: int
    changes: Mapping[str, ItemChange]
    hidden: Ints
    rows: Rows
    dead: Ints
    row_of: dict[str, int] = field(repr=False)
    columns: Columns = field(repr=False)
    places: Places = field(repr=False)
    """Where each row of the generation went, int32: its newest live row, dead or not, or -1."""
    strange: frozenset[str] = frozenset()

    @property
    def alive(self) -> int:
        """How many live items there are."""
        return len(self.rows) - len(self.dead)

    def allowed(self, scope: Scope) -> Bools:
        """Which live rows a scope allows, bool [rows]."""
        allowed = np.ones(len(self.rows), np.bool_)
        if scope.filter is not None:
            allowed &= mask(scope.filter, self.rows.items)
        excluded = [row for i in scope.exclude if (row := self.row_of.get(i)) is not None]
        allowed[excluded] = False
        allowed[self.dead] = False
        return allowed


@dataclass(frozen=True, slots=True)
class MovedLinks:
    """The generation's neighbours of those of its rows that went on as live rows."""

    of_base: Links
    places: Places

    def of(self, source: str) -> tuple[Ints, Float64s]:
        rows, weights = self.of_base.of(source)
        moved = self.places[rows].astype(np.int64)
        order = np.argsort(moved, kind="stable")
        order = order[np.count_nonzero(moved < 0) :]
        return moved[order], weights[order]


def delta_of(base: Rows, changes: Mapping[str, ItemChange], position: int, encoder: str) -> Delta:
    """The delta of one shard's changes over a generation of this encoder (its hash)."""
    columns = Columns(
        Growing(base.text[:0]),
        Growing(base.norms[:0]),
        Growing(base.norms[:0]),
        Growing(base.context[:0]),
        Growing(base.target[:0]),
        Growing(base.popularity[:0]),
    )
    places = np.full(len(base), -1, np.int32)
    rows = _rows(base, (), {}, base.items.slice(0, 0), columns, places=places)
    return extended(
        Delta(position, {}, NO_ROWS, rows, NO_ROWS, {}, columns, places),
        base,
        changes,
        position,
        encoder,
    )


def extended(
    before: Delta, base: Rows, newer: Mapping[str, ItemChange], position: int, encoder: str
) -> Delta:
    """The delta with newer changes applied to it; `before` stays as it is."""
    changes = {**before.changes, **newer}
    replaced = [row for one in newer if (row := before.row_of.get(one)) is not None]
    dead = np.append(before.dead, np.array(replaced, np.int64))
    usable = [change for change in newer.values() if _fits(change, base, encoder)]
    if 2 * len(dead) > len(before.rows) + len(usable):
        return delta_of(base, changes, position, encoder)
    touched = {one: row for one in newer if (row := base.row_of.get(one)) is not None}
    hidden = [row for one, row in touched.items() if one not in before.changes]
    learned = np.array([touched.get(change.item_id, -1) for change in usable], np.int64)
    places = before.places.copy()
    places[learned[learned >= 0]] = len(before.rows) + np.flatnonzero(learned >= 0)
    live = {change.item_id for change in newer.values() if change.item is not None}
    columns = _grown(before.columns, base, usable, learned)
    ids = tuple(change.item_id for change in usable)
    row_of = before.row_of.copy()
    for one in newer:
        row_of.pop(one, None)
    row_of |= {one: row for row, one in enumerate(ids, start=len(before.rows))}
    items = _with_block(before.rows.items, usable)
    return Delta(
        position,
        changes,
        np.append(before.hidden, np.array(hidden, np.int64)),
        _rows(base, (*before.rows.ids, *ids), row_of, items, columns, places=places),
        dead,
        row_of,
        columns,
        places,
        (before.strange - newer.keys()) | (live - set(ids)),
    )


def _fits(change: ItemChange, base: Rows, encoder: str) -> bool:
    """Whether it is an item whose vector can be compared with the generation's."""
    fits = change.encoder == encoder and len(change.vector) == 4 * base.text.shape[1]
    return change.item is not None and fits


def _grown(before: Columns, base: Rows, changes: Sequence[ItemChange], learned: Ints) -> Columns:
    """The columns with the changes' rows; `learned` are their rows in the generation, or -1."""
    text = np.frombuffer(b"".join(change.vector for change in changes), np.float32)
    text = text.reshape(len(changes), base.text.shape[1])
    target = _kept(base.target, learned)
    squares = _squares(text)
    return Columns(
        before.text.with_block(text),
        before.norms.with_block(np.sqrt(squares)),
        before.lengths.with_block(np.sqrt(squares + _squares(target))),
        before.context.with_block(_kept(base.context, learned)),
        before.target.with_block(target),
        before.popularity.with_block(_kept_numbers(base.popularity, learned)),
    )


def _rows(
    base: Rows,
    ids: tuple[str, ...],
    row_of: dict[str, int],
    items: pa.Table,
    columns: Columns,
    *,
    places: Places,
) -> Rows:
    norms = columns.norms.rows
    return Rows(
        ids=ids,
        row_of=row_of,
        items=items,
        titles=Column(cast("pa.StringArray", items.column(TITLE).combine_chunks())),
        text=columns.text.rows,
        norms=norms,
        mean=base.mean,
        context=columns.context.rows,
        target=columns.target.rows,
        longest=float(columns.lengths.rows.max(initial=0.0)),
        spread=float(np.ptp(norms)) if len(norms) else 0.0,
        popularity=columns.popularity.rows,
        most_popular=NO_ROWS,  # an index asks for them, and live rows have none
        neighbours=MovedLinks(base.neighbours, places),
    )


def _with_block(table: pa.Table, changes: Sequence[ItemChange]) -> pa.Table:
    """The table with the changes' items below, in chunks of which each is over twice the next.

    So there are few chunks, and a row is copied a few times in all.
    """
    items = [change.item for change in changes if change.item is not None]
    if not items:
        return table
    whole = table.to_batches()
    last = item_rows(items, table.schema).to_batches()
    while whole and whole[-1].num_rows <= 2 * sum(part.num_rows for part in last):
        last.insert(0, whole.pop())
    merged = pa.Table.from_batches(last).combine_chunks()
    return pa.Table.from_batches([*whole, *merged.to_batches()], table.schema)


def _squares(vectors: Float32s) -> Float64s:
    """The squares of the rows' norms, float64: the same bits wherever a row lies."""
    return np.square(vectors, dtype=np.float64).sum(axis=1)


def _kept(values: Float32s, learned: Ints) -> Float32s:
    """The vectors of the generation's rows `learned`, zeros where there is none (-1)."""
    found = np.zeros((len(learned), values.shape[1]), np.float32)
    found[learned >= 0] = values[learned[learned >= 0]]
    return found


def _kept_numbers(values: Float64s, learned: Ints) -> Float64s:
    found = np.zeros(len(learned))
    found[learned >= 0] = values[learned[learned >= 0]]
    return found
