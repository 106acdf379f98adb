"""Stored tables of segments in, the rows that one shard owns out: what a scorer reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
from llmrec_ray.search.keeping import InMemory, Keeping
from llmrec_ray.search.places import Column, Hashed, Places, Texts
from llmrec_ray.storage.columns import dictionary, numbers, vectors, whole
from llmrec_ray.storage.links import links_of
from llmrec_ray.types import Bools, FieldValue, Float32s, Float64s, Ints, Item

MOST_POPULAR = 4096
MATRICES = ("text", CONTEXT, TARGET_VECTOR)
TABLES = ("items", "pairs", "sources")
START = "start"


class Stored(Protocol):
    """The stored objects of one segment, row-aligned but for the neighbours.

    `taste` is absent where a generation was made without events. Each may be read when asked for.
    """

    @property
    def count(self) -> int: ...
    @property
    def items(self) -> pa.Table: ...
    @property
    def text(self) -> pa.Table: ...
    @property
    def popularity(self) -> pa.Table: ...
    @property
    def neighbours(self) -> pa.Table: ...
    @property
    def taste(self) -> pa.Table | None: ...


@dataclass(frozen=True, slots=True)
class Tables:
    """A segment in memory."""

    items: pa.Table
    text: pa.Table
    popularity: pa.Table
    neighbours: pa.Table
    taste: pa.Table | None = None

    @property
    def count(self) -> int:
        return self.items.num_rows

    def cut(self, kept: Bools) -> "Tables":
        """The rows that `kept` (bool [rows]) marks; neighbours follow their targets."""
        owned = np.flatnonzero(kept)
        return Tables(
            self.items.take(owned),
            self.text.take(owned),
            self.popularity.take(owned),
            links_of(self.neighbours, kept),
            self.taste.take(owned) if self.taste is not None else None,
        )


class Links(Protocol):
    """N keyed by source."""

    def of(self, source: str) -> tuple[Ints, Float64s]:
        """The rows that list `source` as their neighbour, ascending, and the weights."""
        ...


@dataclass(frozen=True, slots=True)
class Neighbours:
    """N keyed by source: rows and weights of s at `starts[s]:starts[s + 1]`, rows ascending.

    Rows are stored in 32 bits, and so are weights, as the generation has them.
    """

    sources: Places
    starts: NDArray[np.integer]
    rows: NDArray[np.integer]
    weights: NDArray[np.floating]

    def of(self, source: str) -> tuple[Ints, Float64s]:
        """The rows that list `source` as their neighbour, and the weights."""
        position = self.sources.get(source)
        if position is None:
            return np.zeros(0, np.int64), np.zeros(0)
        span = slice(self.starts[position], self.starts[position + 1])
        return self.rows[span].astype(np.int64), self.weights[span].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Rows:
    """Row-aligned items: ids, Arrow fields, vectors, popularity.

    `text` float32 [rows, text dims] with their `norms`, and `mean` float64 [text dims] over the
    whole generation; `context` (q) and `target` (p) float32 [rows, taste dims]; `longest` is the
    largest norm of a row's [p ; t], `spread` how far the norms of texts differ; `most_popular` are
    rows, the best first.
    """

    ids: Texts
    row_of: Places
    items: pa.Table
    titles: Texts
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
        return self.titles[row]

    def item(self, row: int) -> Item:
        """The item at a row; fields without a value are left out."""
        values = self.items.slice(row, 1).to_pylist()[0]
        fields: dict[str, FieldValue] = {}
        for name, value in values.items():
            if name.startswith(FIELD_PREFIX) and value is not None:
                field = name.removeprefix(FIELD_PREFIX)
                fields[field] = tuple(cast(list[str], value)) if isinstance(value, list) else value
        return Item(values[ITEM_ID], values[TITLE], fields)


def rows_of(segments: Sequence[Stored], mean: Float64s, keep: Keeping | None = None) -> Rows:
    """Join segments, in order, into the rows of one shard; `mean` float64 [text dims].

    `keep` says where they lie: without it, in memory.
    """
    keep = keep or InMemory()
    items = keep.table(
        TABLES[0], lambda: pa.concat_tables([part.items for part in segments]).combine_chunks()
    )
    text, context, target = (
        keep.matrix(name, items.num_rows, parts(segments, name))
        for name, parts in zip(MATRICES, (_text, _taste, _taste), strict=True)
    )
    norms = np.sqrt(np.einsum("nd,nd->n", text, text, dtype=np.float64))
    squares = norms**2 + np.einsum("nd,nd->n", target, target, dtype=np.float64)
    popular = np.concatenate([numbers(part.popularity, POPULARITY) for part in segments])
    ids = Column(cast(pa.StringArray, whole(items, ITEM_ID)))
    return Rows(
        ids=ids,
        row_of=Hashed(ids),
        items=items,
        titles=Column(cast(pa.StringArray, whole(items, TITLE))),
        text=text,
        norms=norms,
        mean=mean,
        context=context,
        target=target,
        longest=float(np.sqrt(squares.max(initial=0.0))),
        spread=float(np.ptp(norms)) if len(norms) else 0.0,
        popularity=popular,
        most_popular=np.argsort(-popular, kind="stable")[:MOST_POPULAR],
        neighbours=_neighbours(segments, keep),
    )


def _text(segments: Sequence[Stored], name: str) -> Iterator[Float32s]:  # noqa: ARG001
    for part in segments:
        yield vectors(part.text)


def _taste(segments: Sequence[Stored], name: str) -> Iterator[Float32s]:
    """The learned vectors of one role, float32 [rows, taste dims]; no dims without events."""
    for part in segments:
        taste = part.taste
        yield np.zeros((part.count, 0), np.float32) if taste is None else vectors(taste, name)


def _neighbours(segments: Sequence[Stored], keep: Keeping) -> Neighbours:
    joined = cache(lambda: _joined(segments))
    sources = keep.table(TABLES[2], lambda: joined()[0])
    pairs = keep.table(TABLES[1], lambda: joined()[1])
    ends = pairs.num_rows
    starts = np.concatenate([sources.column(START).to_numpy(), [ends]]).astype(np.int64)
    return Neighbours(
        sources=Hashed(Column(cast(pa.StringArray, whole(sources, SOURCE)))),
        starts=starts,
        rows=pairs.column(ROW).to_numpy(),
        weights=pairs.column(WEIGHT).to_numpy(),
    )


def _joined(segments: Sequence[Stored]) -> tuple[pa.Table, pa.Table]:
    """Sources with their starts, and the pairs (row, weight) by source, then row of the shard."""
    rows: list[NDArray[np.int32]] = []
    tables: list[pa.Table] = []
    offset = 0
    for part in segments:
        pairs = part.neighbours
        rows.append(pairs.column(ROW).to_numpy() + np.int32(offset))
        tables.append(pairs.drop_columns([ROW]))
        offset += part.count
    table, row = pa.concat_tables(tables), np.concatenate(rows)
    names, codes = dictionary(table, SOURCE)
    order = np.lexsort((row, codes))
    starts = np.searchsorted(codes[order], np.arange(len(names)))
    sources = pa.table({SOURCE: names, START: pa.array(starts, pa.int64())})
    weights = table.column(WEIGHT).to_numpy()[order]
    return sources, pa.table({ROW: pa.array(row[order]), WEIGHT: pa.array(weights)})
