"""Ranges of items in; what a function makes of each, one after the other, out.

A step of training that is a list of independent blocks takes a `Spread`, which decides where the
blocks run: here in this process, elsewhere as tasks of a cluster. The result is the same, bit for
bit, since the blocks are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from llmrec_ray.types import Float64s

Common = TypeVar("Common")
Made = TypeVar("Made")

Block = tuple[int, int]
"""From the first place up to, and without, the second."""


class Spread(Protocol):
    """Calls a module-level function with what all blocks share and each block; keeps the order."""

    def __call__(
        self, function: Callable[[Common, Block], Made], common: Common, blocks: Sequence[Block]
    ) -> Iterable[Made]: ...


def here(
    function: Callable[[Common, Block], Made], common: Common, blocks: Sequence[Block]
) -> Iterator[Made]:
    """In this process, one block at a time."""
    return (function(common, block) for block in blocks)


def blocks_of(costs: Float64s, most: float) -> list[Block]:
    """Neighbouring places whose costs, float64 [places], add up to about `most`; each has one."""
    ends = np.cumsum(costs)
    blocks: list[Block] = []
    start, before = 0, 0.0
    while start < len(costs):
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        blocks.append((start, stop))
        start, before = stop, float(ends[stop - 1])
    return blocks
