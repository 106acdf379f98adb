"""Files of any format come in; batches of raw rows, all strings, with their places, go out."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (the types that pyarrow brings leave its arrays unknown)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llmrec_ray.catalog.arrow_file import arrow_batches
from llmrec_ray.catalog.csv_file import csv_rows
from llmrec_ray.catalog.description import Source
from llmrec_ray.catalog.json_lines import json_rows
from llmrec_ray.catalog.lines import bad_file
from llmrec_ray.catalog.report import RawValue, Tally
from llmrec_ray.catalog.shape import Column, Row, Shape, Wanted
from llmrec_ray.types import Ints

BATCH_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some rows of a file: a string or list<string> column for each one wanted, null where absent.

    `rows` says where each row begins: the line of a text file (a CSV header is line 1), otherwise
    the row, from 1.
    """

    file: Path
    rows: Ints
    table: pa.RecordBatch

    def values(self, index: int) -> dict[str, RawValue]:
        """One row as it was read, for the file of rejected rows."""
        return self.table.slice(index, 1).to_pylist()[0]


def read_rows(
    source: Source, columns: Sequence[Wanted], tally: Tally, batch_rows: int = BATCH_ROWS
) -> Iterator[RawBatch]:
    """Stream every file; a malformed row goes to the tally, a bad file raises `InvalidCatalog`."""
    for path in source.paths:
        if not path.is_file():
            raise bad_file(path, "there is no such file", "Correct `files` in the description.")
        if path.stat().st_size == 0:
            raise bad_file(path, "the file is empty", "Write it again, or leave it out of `files`.")
        form = source.format_of(path)
        if form == "csv":
            rows = csv_rows(path, source, columns, tally)
            yield from _text_batches(path, rows, source, columns, batch_rows=batch_rows)
        elif form == "jsonl":
            rows = json_rows(path, source, columns, tally)
            yield from _text_batches(path, rows, source, columns, batch_rows=batch_rows)
        else:
            for first, batch in arrow_batches(path, form, columns, batch_rows):
                places = np.arange(first, first + batch.num_rows, dtype=np.int64)
                arrays = [batch.column(wanted.column) for wanted in columns]
                yield RawBatch(path, places, _shaped(arrays, source, columns))


def _text_batches(
    path: Path,
    rows: Iterator[Row],
    source: Source,
    columns: Sequence[Wanted],
    *,
    batch_rows: int,
) -> Iterator[RawBatch]:
    while chunk := list(islice(rows, batch_rows)):
        places = np.array([place for place, _ in chunk], dtype=np.int64)
        cells = zip(*(row for _, row in chunk), strict=True)
        yield RawBatch(
            path, places, _shaped([pa.array(list(column)) for column in cells], source, columns)
        )


def _shaped(arrays: Sequence[Column], source: Source, columns: Sequence[Wanted]) -> pa.RecordBatch:
    shaped = [
        _column(array, wanted.shape, source.tag_separator)
        for array, wanted in zip(arrays, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(shaped, names=[wanted.name for wanted in columns])


def _column(array: Column, shape: Shape, separator: str) -> Column:
    """A string column, or a list<string> column for the shape `list`."""
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lists = array.cast(pa.list_(pa.string()))
        if shape == "list":
            return lists
        return pc.binary_join(pc.list_slice(lists, 0, 1) if shape == "first" else lists, ", ")
    strings = array.cast(pa.string())
    return pc.split_pattern(strings, separator) if shape == "list" else strings
