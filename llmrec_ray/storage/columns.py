"""Columns of Arrow tables as typed Python and numpy values; the columns hold no nulls."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyarrow's stubs leave arrays of a generic type unknown; this module is where they become known

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from llmrec_ray.schemas import VECTOR
from llmrec_ray.types import Float32s, Float64s, Ints

AT_ONCE = 65_536


def whole(table: pa.Table, name: str) -> "pa.Array[Any]":
    """A column as one array; Arrow would copy a single chunk as well, mapped or not."""
    column = table.column(name)
    if column.num_chunks == 1:
        return cast("pa.Array[Any]", column.chunk(0))
    return column.combine_chunks()


def texts(table: pa.Table, name: str) -> list[str]:
    """A text column."""
    return cast(list[str], table.column(name).to_pylist())


def each_text(column: "pa.Array[Any] | pa.ChunkedArray[Any]") -> Iterator[str]:
    """The texts of a column, of which few are Python objects at once."""
    for start in range(0, len(column), AT_ONCE):
        yield from cast(list[str], column.slice(start, AT_ONCE).to_pylist())


def numbers(table: pa.Table, name: str) -> Float64s:
    """A number column, float64 [rows]."""
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def wholes(table: pa.Table, name: str) -> Ints:
    """A column of whole numbers, int64 [rows]."""
    return np.asarray(table.column(name).to_numpy(), dtype=np.int64)


def coded(table: pa.Table, name: str) -> tuple[list[str], Ints]:
    """The different texts of a column, and for each row the place of its text among them."""
    names, codes = dictionary(table, name)
    return cast(list[str], names.to_pylist()), codes.astype(np.int64)


def dictionary(table: pa.Table, name: str) -> tuple[pa.StringArray, NDArray[np.int32]]:
    """The different texts of a column as one, and for each row the place of its text, int32."""
    column = cast("pa.DictionaryArray[Any, Any]", whole(table, name).dictionary_encode())
    return cast(pa.StringArray, column.dictionary), np.asarray(column.indices, np.int32)


def order_of(groups: Ints, column: "pa.Array[Any] | pa.ChunkedArray[Any]") -> Ints:
    """The rows sorted by group, then by text, as Python compares texts: by their code points.

    Arrow compares UTF-8 bytes, whose order is the same.
    """
    table = pa.table([pa.array(groups, pa.int32()), column], names=["group", "text"])
    order = pc.sort_indices(table, sort_keys=[("group", "ascending"), ("text", "ascending")])
    return np.asarray(order, np.int64)


def ranks(names: pa.StringArray) -> Ints:
    """The place of each text among all of them, sorted."""
    return np.argsort(np.asarray(pc.array_sort_indices(names), np.int64))


def places_in(names: pa.StringArray, among: pa.StringArray) -> Ints:
    """Where each text is among some different ones, -1 where it is not."""
    return np.asarray(pc.index_in(names, value_set=among).fill_null(-1), np.int64)


def vectors_column(vectors: Float32s) -> "pa.Array[Any]":
    """Vectors float32 [rows, dim] as one column."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vectors_dim(table: pa.Table, name: str = VECTOR) -> int:
    """The dimension of a column of vectors."""
    return cast("pa.FixedSizeListType[Any, Any]", table.schema.field(name).type).list_size


def vectors(table: pa.Table, name: str = VECTOR) -> Float32s:
    """A column of vectors, float32 [rows, dim]."""
    column = cast("pa.FixedSizeListArray[Any, Any]", whole(table, name))
    flat = np.asarray(column.flatten(), dtype=np.float32)
    return flat.reshape(table.num_rows, column.type.list_size)
