"""Arrays that grow by rows: a block in, an array with it at the end out, at the block's own cost.

What was handed out before keeps its rows and sees none of the new ones, so it needs no lock.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

ArrayT = TypeVar("ArrayT", bound=NDArray[Any])


@dataclass(slots=True)
class _Room:
    """An array with room at its end, and how many of its rows are taken."""

    values: NDArray[Any]
    taken: int


@dataclass(frozen=True, slots=True)
class Growing(Generic[ArrayT]):
    """`rows` as they are now; the room behind them is shared with what grew from them."""

    rows: ArrayT
    room: _Room = field(default_factory=lambda: _Room(np.zeros(0), 0), repr=False, compare=False)

    def with_block(self, block: ArrayT) -> "Growing[ArrayT]":
        """These rows and then the block's; one writer at a time may call it."""
        if not len(block):
            return self
        count, total = len(self.rows), len(self.rows) + len(block)
        room = self.room
        if room.taken != count or total > len(room.values):  # another went on from here, or full
            room = _Room(np.empty((2 * total, *block.shape[1:]), block.dtype), count)
            room.values[:count] = self.rows
        room.values[count:total] = block
        room.taken = total
        return Growing(cast("ArrayT", room.values[:total]), room)
