"""What is too much for memory in; the same in files without a name, mapped, out.

Such a file is gone with the process. The system reads from it what is used, and may take the memory
for something else at any time.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (pyarrow's stubs leave arrays of a generic type unknown)

import mmap
import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from io import IOBase
from itertools import pairwise
from typing import IO, cast

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import Unavailable
from llmrec_ray.types import Float32s, Ints


def spilled(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The rows of all batches, of which one is in memory at a time."""
    with _file() as file:
        with _room():
            writer = pa.ipc.new_file(cast(IOBase, file), schema)
        for batch in batches:
            with _room():
                writer.write_batch(batch)
        with _room():
            writer.close()
            file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_file(pa.py_buffer(mapped)).read_all()


def gathered(table: pa.Table, rows: Ints) -> pa.Table:
    """These rows, in their order; Arrow's `take` would copy all chunks of the table to one first.

    Text columns of more than 2 GiB have no such copy at all.
    """
    batches = table.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    cuts = pairwise(np.searchsorted(ascending, starts).tolist())
    pieces = [
        batch.take(pa.array(ascending[begin:end] - start))
        for batch, start, (begin, end) in zip(batches, starts, cuts, strict=False)
        if begin < end
    ]
    return pa.Table.from_batches(pieces, table.schema).combine_chunks().take(np.argsort(order))


def matrix(shape: tuple[int, int]) -> Float32s:
    """Zeros, float32, to write to."""
    if 0 in shape:
        return np.zeros(shape, np.float32)
    needed = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    with _file() as file:
        with _room(needed):  # a full disk would end the process where it is written to
            os.posix_fallocate(file.fileno(), 0, needed)
        return np.memmap(file, np.float32, "r+", shape=shape)


def _file() -> IO[bytes]:
    with _room():
        return tempfile.TemporaryFile(prefix="llmrec-")


@contextmanager
def _room(needed: int | None = None) -> Generator[None]:
    try:
        yield
    except OSError as cause:
        what = f"{needed:,} bytes" if needed else "rows"
        raise Unavailable(
            f"cannot keep {what} in {tempfile.gettempdir()}: {cause}. Free the disk, or name a"
            " folder on another one as TMPDIR."
        ) from cause
