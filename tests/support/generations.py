"""Small drafts of generations, and a store in which chosen writes go wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.generation.draft import ChannelTable, Draft
from llmrec_ray.generation.manifest import FieldSpec, Scale
from llmrec_ray.ports import EncoderInfo, Stat
from llmrec_ray.schemas import (
    NEIGHBOURS_SCHEMA,
    POPULARITY_SCHEMA,
    items_schema,
    vectors_schema,
)
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import EventWeights, Mix

DIM = 4


def items(ids: list[str]) -> pa.Table:
    """A title, a year and genres for each id; every third film has none."""
    rows = range(len(ids))
    years = [None if n % 3 == 0 else 1900.0 + n for n in rows]
    genres = [None if n % 3 == 0 else [f"genre {n % 5}"] for n in rows]
    return pa.table(
        {
            "item_id": ids,
            "title": [f"Film {item_id}" for item_id in ids],
            "field.year": years,
            "field.genres": genres,
        },
        schema=items_schema({"year": "number", "genres": "tags"}),
    )


def vectors(values: np.ndarray) -> pa.Table:
    flat = pa.array(values.astype(np.float32).reshape(-1))
    dim = values.shape[1]
    return pa.table([pa.FixedSizeListArray.from_arrays(flat, dim)], schema=vectors_schema(dim))


def unit_vectors(rows: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, DIM))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def popularity(values: list[float]) -> pa.Table:
    return pa.table({"popularity": values}, schema=POPULARITY_SCHEMA)


def neighbours(pairs: dict[tuple[str, str], float]) -> pa.Table:
    columns = {
        "source": [source for source, _ in pairs],
        "target": [target for _, target in pairs],
        "weight": list(pairs.values()),
    }
    return pa.table(columns, schema=NEIGHBOURS_SCHEMA)


def draft(count: int = 40, seed: int = 0) -> Draft:
    """`count` films f0, f1, …; each is a neighbour of the three that follow it."""
    ids = [f"f{n}" for n in range(count)]
    pairs = {(ids[n], ids[(n + k) % count]): 1.0 / k for n in range(count) for k in (1, 2, 3)}
    return Draft(
        items=items(ids),
        fields={
            "year": FieldSpec(
                kind="number", scale=Scale(minimum=1900, maximum=1940, mean=1920, deviation=10)
            ),
            "genres": FieldSpec(kind="tags"),
        },
        channels=(
            ChannelTable("text", "text", vectors(unit_vectors(count, seed))),
            ChannelTable("neighbours", "neighbours", neighbours(pairs)),
            ChannelTable("popularity", "popularity", popularity([n / count for n in range(count)])),
        ),
        encoder=EncoderInfo("hashing", "0123456789abcdef", DIM),
        weights=EventWeights({"like": 1.0, "view": 0.2}),
        mix=Mix(neighbours=1.0, taste=1.0, text=0.1, prior=0.3, prior_fade=2.0, query=1.0),
        events=120,
        trained_until=datetime(2026, 1, 2, tzinfo=UTC),
    )


def _never(_: str) -> bool:
    return False


@dataclass
class FaultyStore:
    """A real store in which chosen writes go wrong, before they happen or after, or reads."""

    inner: FolderStore
    fails_before: Callable[[str], bool] = _never
    fails_after: Callable[[str], bool] = _never
    down: bool = False
    fails_to_read: Callable[[str], bool] = _never
    created: list[str] = field(default_factory=list[str])
    reads: list[str] = field(default_factory=list[str])

    def create(self, key: str, data: bytes) -> bool:
        self._check(self.fails_before(key))
        made = self.inner.create(key, data)
        self.created.append(key)
        self._check(self.fails_after(key))
        return made

    def get(self, key: str) -> bytes:
        self._check(self.fails_to_read(key))
        self.reads.append(key)
        return self.inner.get(key)

    def exists(self, key: str) -> bool:
        self._check(False)
        return self.inner.exists(key)

    def list(self, prefix: str) -> list[str]:
        self._check(False)
        self.reads.append(prefix)
        return self.inner.list(prefix)

    def stats(self, prefix: str) -> dict[str, Stat]:
        self._check(False)
        self.reads.append(prefix)
        return self.inner.stats(prefix)

    def delete(self, key: str) -> None:
        self._check(False)
        self.inner.delete(key)

    def _check(self, fails: bool) -> None:
        if self.down or fails:
            raise StoreUnavailable("the store was made to fail")
