"""Stored tables of segments in, the rows that one shard owns out: what a scorer reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import pyarrow as pa

from llmrec_ray.schemas import (
    CONTEXT,
    FIELD_PREFIX,
    ITEM_ID,
    POPULARITY,
    ROW,
    SOURCE,
    TARGET_VECTOR,
    TITLE,
    WEIGHT,
)
from llmrec_ray.storage.columns import coded, numbers, texts, vectors, wholes
from llmrec_ray.types import Bools, FieldValue, Float32s, Float64s, Ints, Item

MOST_POPULAR = 4096
MATRICES = ("text", CONTEXT, TARGET_VECTOR)


@dataclass(frozen=True, slots=True)
class Tables:
    """The stored objects of one segment, row-aligned but for the neighbours.

    `taste` is absent where a generation was made without events.
    """

    items: pa.Table
    text: pa.Table
    popularity: pa.Table
    neighbours: pa.Table
    taste: pa.Table | None = None

    def cut(self, kept: Bools) -> "Tables":
        """The rows that `kept` (bool [rows]) marks; neighbours follow their targets."""
        new_rows = np.cumsum(kept) - 1
        rows = wholes(self.neighbours, ROW)
        stays = np.flatnonzero(kept[rows])
        moved = pa.array(new_rows[rows[stays]].astype(np.int32))
        owned = np.flatnonzero(kept)
        return Tables(
            self.items.take(owned),
            self.text.take(owned),
            self.popularity.take(owned),
            self.neighbours.take(stays).set_column(1, ROW, moved),
            self.taste.take(owned) if self.taste is not None else None,
        )


class Links(Protocol):
    """N keyed by source."""

    def of(self, source: str) -> tuple[Ints, Float64s]:
        """The rows that list `source` as their neighbour, ascending, and the weights."""
        ...


@dataclass(frozen=True, slots=True)
class Neighbours:
    """N keyed by source: rows and weights of s at `starts[s]:starts[s + 1]`, rows ascending."""

    sources: dict[str, int]
    starts: Ints
    rows: Ints
    weights: Float64s

    def of(self, source: str) -> tuple[Ints, Float64s]:
        """The rows that list `source` as their neighbour, and the weights."""
        position = self.sources.get(source)
        if position is None:
            return self.rows[:0], self.weights[:0]
        span = slice(self.starts[position], self.starts[position + 1])
        return self.rows[span], self.weights[span]


@dataclass(frozen=True, slots=True)
class Rows:
    """Row-aligned items: ids, Arrow fields, vectors, popularity.

    `text` float32 [rows, text dims] with their `norms`, and `mean` float64 [text dims] over the
    whole generation; `context` (q) and `target` (p) float32 [rows, taste dims]; `longest` is the
    largest norm of a row's [p ; t], `spread` how far the norms of texts differ; `most_popular` are
    rows, the best first.
    """

    ids: tuple[str, ...]
    row_of: dict[str, int]
    items: pa.Table
    titles: pa.StringArray
    text: Float32s
    norms: Float64s
    mean: Float64s
    context: Float32s
    target: Float32s
    longest: float
    spread: float
    popularity: Float64s
    most_popular: Ints
    neighbours: Links

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Dimensions of a query's vector: taste, then text."""
        return self.target.shape[1] + self.text.shape[1]

    def vectors(self, rows: int | Ints) -> Float32s:
        """[p ; t] of one row or of several, float32 […, dim]."""
        return np.concatenate([self.target[rows], self.text[rows]], axis=-1)

    def title(self, row: int) -> str:
        return self.titles[row].as_py()

    def item(self, row: int) -> Item:
        """The item at a row; fields without a value are left out."""
        values = self.items.slice(row, 1).to_pylist()[0]
        fields: dict[str, FieldValue] = {}
        for name, value in values.items():
            if name.startswith(FIELD_PREFIX) and value is not None:
                field = name.removeprefix(FIELD_PREFIX)
                fields[field] = tuple(cast(list[str], value)) if isinstance(value, list) else value
        return Item(values[ITEM_ID], values[TITLE], fields)


class Joining(Protocol):
    """Joins matrices, one below the other: in memory, or in a file that is mapped."""

    def __call__(self, name: str, parts: Sequence[Float32s]) -> Float32s: ...


def in_memory(name: str, parts: Sequence[Float32s]) -> Float32s:  # noqa: ARG001
    """The parts as one matrix in memory."""
    return np.concatenate(parts)


def rows_of(segments: Sequence[Tables], mean: Float64s, join: Joining = in_memory) -> Rows:
    """Join segments, in order, into the rows of one shard; `mean` float64 [text dims].

    `join` says where vectors lie.
    """
    items = pa.concat_tables([part.items for part in segments]).combine_chunks()
    ids = tuple(texts(items, ITEM_ID))
    text = join(MATRICES[0], [vectors(part.text) for part in segments])
    popularity = pa.concat_tables([part.popularity for part in segments])
    norms = np.sqrt(np.einsum("nd,nd->n", text, text, dtype=np.float64))
    context, target = (join(name, _taste(segments, name)) for name in MATRICES[1:])
    squares = norms**2 + np.einsum("nd,nd->n", target, target, dtype=np.float64)
    popular = numbers(popularity, POPULARITY)
    return Rows(
        ids=ids,
        row_of={item_id: row for row, item_id in enumerate(ids)},
        items=items,
        titles=cast(pa.StringArray, items.column(TITLE).combine_chunks()),
        text=text,
        norms=norms,
        mean=mean,
        context=context,
        target=target,
        longest=float(np.sqrt(squares.max(initial=0.0))),
        spread=float(np.ptp(norms)) if len(norms) else 0.0,
        popularity=popular,
        most_popular=np.argsort(-popular, kind="stable")[:MOST_POPULAR],
        neighbours=_neighbours(segments),
    )


def _taste(segments: Sequence[Tables], name: str) -> list[Float32s]:
    """The learned vectors of one role, float32 [rows, taste dims]; no dims without events."""
    return [
        np.zeros((part.items.num_rows, 0), np.float32)
        if part.taste is None
        else vectors(part.taste, name)
        for part in segments
    ]


def _neighbours(segments: Sequence[Tables]) -> Neighbours:
    """Merge the segments' lists, shifting each segment's rows to where they lie in the shard."""
    offsets = np.cumsum([0, *(part.items.num_rows for part in segments)])
    rows = np.concatenate(
        [
            wholes(part.neighbours, ROW) + offset
            for part, offset in zip(segments, offsets, strict=False)
        ]
    )
    table = pa.concat_tables([part.neighbours for part in segments])
    names, codes = coded(table, SOURCE)
    order = np.lexsort((rows, codes))
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return Neighbours(
        sources={name: position for position, name in enumerate(names)},
        starts=starts.astype(np.int64),
        rows=rows[order],
        weights=numbers(table, WEIGHT)[order],
    )
