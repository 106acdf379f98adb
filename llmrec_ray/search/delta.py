"""A shard's rows and the live changes since in; the rows that they hide, and live rows, out.

Live rows are scored by the same exact arithmetic as any others, so an answer merges both by score.
A changed item keeps what was learned of it: its learned vectors, popularity and neighbours. A new
one has none of these until it is trained with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from llmrec_ray.item_log import ItemChange
from llmrec_ray.item_rows import item_rows
from llmrec_ray.schemas import TITLE
from llmrec_ray.search.segment import MOST_POPULAR, Neighbours, Rows
from llmrec_ray.types import Float32s, Float64s, Ints


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed since the generation was made, up to `position` of the item log.

    `changes` are those of this shard; `hidden` int64: the generation's rows that are changed or
    deleted; `rows`: the live items. `strange` are ids of items whose vectors another encoder made:
    such a vector cannot be compared with the others, so the item is hidden until a compaction has
    embedded it anew.
    """

    position: int
    changes: Mapping[str, ItemChange]
    hidden: Ints
    rows: Rows
    strange: tuple[str, ...] = ()


def delta_of(base: Rows, changes: Mapping[str, ItemChange], position: int, encoder: str) -> Delta:
    """The delta of one shard's changes over a generation of this encoder (its hash)."""
    live = [change for change in changes.values() if change.item is not None]
    usable = [change for change in live if _fits(change, base, encoder)]
    hidden = [base.row_of[item_id] for item_id in changes if item_id in base.row_of]
    rows = _live_rows(base, usable)
    strange = tuple(sorted({one.item_id for one in live} - {one.item_id for one in usable}))
    return Delta(position, changes, np.array(hidden, np.int64), rows, strange)


def _fits(change: ItemChange, base: Rows, encoder: str) -> bool:
    return change.encoder == encoder and len(change.vector) == 4 * base.text.shape[1]


def _live_rows(base: Rows, changes: Sequence[ItemChange]) -> Rows:
    ids = tuple(change.item_id for change in changes)
    places = [base.row_of.get(item_id) for item_id in ids]
    learned = np.array([-1 if row is None else row for row in places], np.int64)
    text = np.frombuffer(b"".join(change.vector for change in changes), np.float32)
    text = text.reshape(len(ids), base.text.shape[1])
    norms = np.sqrt(np.einsum("nd,nd->n", text, text, dtype=np.float64))
    target = _kept(base.target, learned)
    squares = norms**2 + np.einsum("nd,nd->n", target, target, dtype=np.float64)
    table = item_rows([one.item for one in changes if one.item is not None], base.items.schema)
    popularity = _kept_numbers(base.popularity, learned)
    return Rows(
        ids=ids,
        row_of={item_id: row for row, item_id in enumerate(ids)},
        items=table,
        titles=cast("pa.StringArray", table.column(TITLE).combine_chunks()),
        text=text,
        norms=norms,
        mean=base.mean,
        context=_kept(base.context, learned),
        target=target,
        longest=float(np.sqrt(squares.max(initial=0.0))),
        spread=float(np.ptp(norms)) if len(norms) else 0.0,
        popularity=popularity,
        most_popular=np.argsort(-popularity, kind="stable")[:MOST_POPULAR],
        neighbours=_neighbours(base.neighbours, learned, len(base)),
    )


def _kept(values: Float32s, learned: Ints) -> Float32s:
    """The vectors of the generation's rows `learned`, zeros where there is none (-1)."""
    found = np.zeros((len(learned), values.shape[1]), np.float32)
    found[learned >= 0] = values[learned[learned >= 0]]
    return found


def _kept_numbers(values: Float64s, learned: Ints) -> Float64s:
    found = np.zeros(len(learned))
    found[learned >= 0] = values[learned[learned >= 0]]
    return found


def _neighbours(of_base: Neighbours, learned: Ints, rows: int) -> Neighbours:
    """The generation's lists, cut to the rows that stay on as live rows."""
    place = np.full(rows + 1, -1, np.int64)
    place[learned] = np.arange(len(learned))
    place[-1] = -1  # where -1, no row, was written
    stays = np.flatnonzero(place[of_base.rows] >= 0)
    starts = np.searchsorted(stays, of_base.starts)
    moved = place[of_base.rows[stays]]
    owners = np.searchsorted(starts, np.arange(len(stays)), side="right")
    order = np.lexsort((moved, owners))
    return Neighbours(of_base.sources, starts, moved[order], of_base.weights[stays][order])
