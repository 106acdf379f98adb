"""What the readers share: the columns that are wanted, and the rows that they pass on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["text", "list", "first"]
"""A column becomes a string, a list of strings, or the first string of a list."""

Cell = str | list[str] | None
Row = tuple[int, Sequence[Cell]]
"""The line where a row begins, and a cell for each column wanted."""

Column = Any
"""An Arrow array; the types that pyarrow brings know neither Python scalars nor masks."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column of the file, the name under which it is passed on, and its shape."""

    name: str
    column: str
    shape: Shape = "text"
