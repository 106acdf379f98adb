"""Rows and vectors in files without a name: the same values, no memory, and a full disk told of."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from llmrec_ray.errors import Unavailable
from llmrec_ray.storage.spill import gathered, matrix, spilled
from tests.support.full_disk import files_end_at

SCHEMA = pa.schema({"id": pa.string(), "tags": pa.list_(pa.string()), "year": pa.float64()})
MEGABYTE = 2**20


def rows(count: int) -> list[dict[str, object]]:
    tags: list[list[str] | None] = [["é", ""], None, []]
    return [
        {"id": f"i{n}", "tags": tags[n % 3], "year": None if n % 4 else n / 2} for n in range(count)
    ]


def batches(*sizes: int) -> list[pa.RecordBatch]:
    table = pa.Table.from_pylist(rows(sum(sizes)), SCHEMA).combine_chunks()
    ends = np.cumsum(sizes).tolist()
    return [
        pa.RecordBatch.from_pylist(table.slice(end - size, size).to_pylist(), SCHEMA)
        for size, end in zip(sizes, ends, strict=True)
    ]


@pytest.mark.parametrize("sizes", [(), (0,), (3,), (3, 0, 5)])
def test_what_is_spilled_is_read_as_it_was(sizes: tuple[int, ...]) -> None:
    assert spilled(batches(*sizes), SCHEMA).to_pylist() == rows(sum(sizes))


def test_what_is_spilled_takes_no_memory_of_arrow() -> None:
    before = pa.total_allocated_bytes()
    large = (pa.record_batch({"text": ["x" * MEGABYTE]}) for _ in range(8))
    table = spilled(large, pa.schema({"text": pa.string()}))
    assert table.nbytes > 8 * MEGABYTE
    assert pa.total_allocated_bytes() - before < MEGABYTE


@pytest.mark.parametrize("places", [[], [4], [7, 0, 7, 3, 2], [0, 1, 2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize("sizes", [(8,), (3, 0, 5), (1,) * 8])
def test_gathered_rows_are_those_that_take_takes(sizes: tuple[int, ...], places: list[int]) -> None:
    table = pa.Table.from_batches(batches(*sizes), SCHEMA)
    found = gathered(table, np.array(places, np.int64))
    assert found.to_pylist() == table.take(pa.array(places, pa.int64())).to_pylist()
    assert found.column("id").num_chunks <= 1


def test_a_matrix_is_zeros_to_write_to() -> None:
    made = matrix((3, 2))
    made[1] = 5
    assert made.tolist() == [[0, 0], [5, 5], [0, 0]]
    assert matrix((0, 2)).shape == (0, 2)


@pytest.mark.parametrize(
    "fill",
    [
        lambda: matrix((1000, 64)),
        lambda: spilled([pa.record_batch({"id": ["x" * 9000]})], pa.schema({"id": pa.string()})),
    ],
    ids=["matrix", "rows"],
)
def test_a_full_disk_is_told_of_with_what_to_do(fill: Callable[[], object]) -> None:
    with files_end_at(4096), pytest.raises(Unavailable, match=r"cannot keep .* in .*TMPDIR"):
        fill()
