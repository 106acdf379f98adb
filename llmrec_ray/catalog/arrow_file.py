"""A Parquet or Arrow file comes in; its record batches with the columns asked for go out."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (the types that pyarrow brings leave its arrays unknown)

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from llmrec_ray.catalog.csv_file import column_index
from llmrec_ray.catalog.lines import bad_file
from llmrec_ray.catalog.shape import Wanted

_FEATHER_1 = b"FEA1"
_ARROW_FILE = b"ARROW1"


def arrow_batches(
    path: Path, form: Literal["parquet", "arrow"], columns: Sequence[Wanted], batch_rows: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the number of their first row, from 1; a bad file raises `InvalidCatalog`."""
    names = list(dict.fromkeys(wanted.column for wanted in columns))
    first = 1
    try:
        with ExitStack() as opened:
            batches = _parquet if form == "parquet" else _ipc
            for batch in batches(path, names, batch_rows, opened):
                batch.validate(full=True)  # a string that is no UTF-8 would fail far from here
                if batch.num_rows:
                    yield first, batch
                first += batch.num_rows
    except (pa.ArrowException, OSError) as cause:
        what = "a Parquet file" if form == "parquet" else "an Arrow IPC (Feather) file"
        raise bad_file(
            path,
            f"this is not {what}, or it is cut short or damaged ({str(cause).splitlines()[0]})",
            "Write or copy the file again, or name its `format`.",
            first if first > 1 else None,
        ) from cause
    if first == 1:
        raise bad_file(path, "the file has no rows", "Write it again, or leave it out of `files`.")


def _parquet(
    path: Path, columns: list[str], batch_rows: int, opened: ExitStack
) -> Iterator[pa.RecordBatch]:
    file = opened.enter_context(pq.ParquetFile(path))
    _check_columns(path, file.schema_arrow, columns)
    yield from file.iter_batches(batch_rows, columns=columns)


def _ipc(
    path: Path, columns: list[str], batch_rows: int, opened: ExitStack
) -> Iterator[pa.RecordBatch]:
    source = opened.enter_context(pa.OSFile(str(path), "rb"))
    start = source.read(len(_ARROW_FILE))
    source.seek(0)
    if start.startswith(_FEATHER_1):
        raise bad_file(path, "this is a Feather file of version 1", "Write it as version 2.")
    if start == _ARROW_FILE:
        file = pa.ipc.open_file(source)
        schema, batches = file.schema, map(file.get_batch, range(file.num_record_batches))
    else:
        stream = pa.ipc.open_stream(source)
        schema, batches = stream.schema, stream
    _check_columns(path, schema, columns)
    for batch in batches:
        for start_row in range(0, batch.num_rows, batch_rows):
            yield batch.select(columns).slice(start_row, batch_rows)


def _check_columns(path: Path, schema: pa.Schema, columns: list[str]) -> None:
    """Every column is there, and holds values or lists of values."""
    for name in columns:
        kind = schema.types[column_index(path, schema.names, name)]
        flat = kind.value_type if isinstance(kind, pa.ListType | pa.LargeListType) else kind
        if pa.types.is_nested(flat):
            raise bad_file(
                path, f"column {name!r} holds {kind}", "Flatten it, or leave it out of `columns`."
            )
