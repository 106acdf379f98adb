"""The rows of a shard in, the index that finds candidates among them out: which kind, and when.

An index only finds candidates; `exact` scores them from the original vectors. So an index can miss
a row, and cannot change a score. The numbers here are measured: docs/search.md.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from llmrec_ray.search.segment import Rows
from llmrec_ray.types import Bools, Float32s, IndexKind, Ints

SCAN_FROM = 20_000  # below, the matrix product of a shared call costs no more than a scan
CODED_FROM = 1_000  # fewer do not train codebooks
SURVIVORS = 0.02  # a filter that lets fewer through is answered exactly
FEW = 2_000  # scoring so many rows exactly costs half of a scan of 120,000


@dataclass(frozen=True, slots=True)
class Near:
    """Rows, none twice, with their rough products; `beyond`: the most that other rows have."""

    rows: Ints
    rough: Float32s
    beyond: float

    def only(self, allowed: Bools) -> "Near":
        """Those that are allowed; bool [rows of the shard]."""
        seen = allowed[self.rows]
        return Near(self.rows[seen], self.rough[seen], self.beyond)


class Index(Protocol):
    """Finds rows whose [p ; t] has a large inner product with a query; safe in many threads."""

    def nearest(
        self, vector: Float32s, count: int, allowed: Bools, *, one_text: bool = False
    ) -> Near:
        """About `count` allowed rows for a vector [dim]; at least so many, where there are.

        `one_text` says that the vector is of one text, and not a sum of several.
        """
        ...


def make_index(rows: Rows, kind: IndexKind) -> Index | None:
    """The index that suits these rows; None where every row is to be scored."""
    least = {"auto": SCAN_FROM, "scan": CODED_FROM, "exact": math.inf}[kind]
    if len(rows) < least or not rows.dim:
        return None
    from llmrec_ray.search.scan import Scan

    return Scan(rows)


def is_selective(survivors: int, count: int) -> bool:
    """Whether so few of `count` rows are left that all of them are scored."""
    return survivors <= max(FEW, int(SURVIVORS * count))
