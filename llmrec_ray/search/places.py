"""Texts of an Arrow column in; each by its place, and the place of each, with no object a text out.

A million texts as Python objects in a dictionary take 180 MB; here 8 MB beside the column, which
may be mapped from a file.
"""

from collections.abc import Iterator
from typing import Protocol
from zlib import crc32

import numpy as np
import pyarrow as pa

from llmrec_ray.storage.columns import each_text


class Texts(Protocol):
    """Texts by their place."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> str: ...

    def __iter__(self) -> Iterator[str]: ...


class Places(Protocol):
    """Where each of some different texts is."""

    def get(self, text: str, /) -> int | None: ...

    def __getitem__(self, text: str, /) -> int: ...

    def __contains__(self, text: object, /) -> bool: ...


class Column:
    """`Texts` over an Arrow column without nulls; asking Arrow for a text takes twice as long."""

    def __init__(self, column: pa.StringArray) -> None:
        self._column = column
        _, ends, texts = column.buffers()
        self._first = column.offset
        self._ends = memoryview(ends or bytes(4)).cast("i")
        self._texts = memoryview(texts or b"")

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, place: int, /) -> str:
        at = self._first + place
        return str(self._texts[self._ends[at] : self._ends[at + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        return each_text(self._column)


class Hashed:
    """`Places` of the different texts of a column.

    Texts with one slot lie together: those of slot s at `starts[s]:starts[s + 1]` of the places.
    """

    def __init__(self, texts: Column) -> None:
        self._texts = texts
        self._slots = 1 << (len(texts) - 1).bit_length() if len(texts) else 1
        slots = np.fromiter(map(self._slot, texts), np.int32, len(texts))
        counts = np.bincount(slots, minlength=self._slots)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self._starts = starts.data  # a view reads one number faster than numpy does
        self._places = np.argsort(slots, kind="stable").astype(np.int32).data

    def get(self, text: str, /) -> int | None:
        slot = self._slot(text)
        for at in range(self._starts[slot], self._starts[slot + 1]):
            place = self._places[at]
            if self._texts[place] == text:
                return place
        return None

    def __getitem__(self, text: str, /) -> int:
        place = self.get(text)
        if place is None:
            raise KeyError(text)
        return place

    def __contains__(self, text: object, /) -> bool:
        return isinstance(text, str) and self.get(text) is not None

    def _slot(self, text: str) -> int:
        """A lone surrogate is in no Arrow text, and must not fail."""
        return crc32(text.encode("utf-8", "surrogatepass")) & (self._slots - 1)
