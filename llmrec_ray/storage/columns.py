"""Columns of Arrow tables as typed Python and numpy values; the columns hold no nulls."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyarrow's stubs leave arrays of a generic type unknown; this module is where they become known

from typing import Any, cast

import numpy as np
import pyarrow as pa

from llmrec_ray.schemas import VECTOR
from llmrec_ray.types import Float32s, Float64s, Ints


def texts(table: pa.Table, name: str) -> list[str]:
    """A text column."""
    return cast(list[str], table.column(name).to_pylist())


def numbers(table: pa.Table, name: str) -> Float64s:
    """A number column, float64 [rows]."""
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def wholes(table: pa.Table, name: str) -> Ints:
    """A column of whole numbers, int64 [rows]."""
    return np.asarray(table.column(name).to_numpy(), dtype=np.int64)


def coded(table: pa.Table, name: str) -> tuple[list[str], Ints]:
    """The different texts of a column, and for each row the place of its text among them."""
    column = table.column(name).combine_chunks().dictionary_encode()
    return cast(list[str], column.dictionary.to_pylist()), np.asarray(column.indices, np.int64)


def vectors(table: pa.Table) -> Float32s:
    """The vectors of a table, float32 [rows, dim]."""
    column = cast("pa.FixedSizeListArray[Any, Any]", table.column(VECTOR).combine_chunks())
    flat = np.asarray(column.flatten(), dtype=np.float32)
    return flat.reshape(table.num_rows, column.type.list_size)
