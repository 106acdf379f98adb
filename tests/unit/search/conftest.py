"""Small catalogues in memory: seeded vectors, popularity, neighbours and fields."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from llmrec_ray.schemas import (
    POPULARITY_SCHEMA,
    STORED_NEIGHBOURS_SCHEMA,
    items_schema,
    taste_schema,
    vectors_schema,
)
from llmrec_ray.search.segment import Rows, Tables, rows_of
from llmrec_ray.storage.columns import vectors_column

DIM = 16
TASTE_DIM = 8
DIMS = TASTE_DIM + DIM
MEAN = np.linspace(-0.1, 0.2, DIM)


def tables(count: int, seed: int = 0) -> Tables:
    """Items i000…; three items list each item as their neighbour."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.repeat(np.arange(count), 3)
    sources = (rows + random.permuted(np.tile([1, 7, 20], (count, 1)), axis=1).ravel()) % count
    items = {
        "item_id": [f"i{n:03}" for n in range(count)],
        "title": [f"Title {n}" for n in range(count)],
        "field.year": [1980.0 + n % 40 if n % 7 else None for n in range(count)],
        "field.genres": [["drama", "crime"] if n % 2 else ["comedy"] for n in range(count)],
        "field.country": ["France" if n % 3 else "Peru" for n in range(count)],
    }
    stored = {
        "source": [f"i{n:03}" for n in sources],
        "row": rows.astype(np.int32),
        "weight": random.random(len(rows)).astype(np.float32),
    }
    schema = items_schema({"year": "number", "genres": "tags", "country": "text"})
    tastes = [random.normal(size=(count, TASTE_DIM)).astype(np.float32) for _ in range(2)]
    return Tables(
        items=pa.table(items, schema=schema),
        text=pa.table([vectors_column(vectors)], schema=vectors_schema(DIM)),
        taste=pa.table([vectors_column(one) for one in tastes], schema=taste_schema(TASTE_DIM)),
        popularity=pa.table(
            {"popularity": pa.array(random.random(count), pa.float32())}, schema=POPULARITY_SCHEMA
        ),
        neighbours=pa.table(stored, schema=STORED_NEIGHBOURS_SCHEMA),
    )


@pytest.fixture
def rows() -> Callable[..., Rows]:
    """rows(count, seed, parts=1): one shard's rows, stored as that many segments."""

    def make(count: int = 60, seed: int = 0, parts: int = 1) -> Rows:
        whole = tables(count, seed)
        owner = np.arange(count) * parts // count
        return rows_of([whole.cut(owner == part) for part in range(parts)], MEAN)

    return make
