"""The rows of a shard in, the index that finds candidates among them out: which kind, and when.

An index only finds candidates; `exact` scores them from the original vectors. So an index can miss
a row, and cannot change a score. The numbers here are measured: docs/search.md.
"""

from typing import Protocol

from llmrec_ray.search.segment import Rows
from llmrec_ray.types import Bools, Float32s, IndexKind, Ints

SCAN_FROM = 20_000  # below, the matrix product of a shared call costs no more than a scan
IVF_FROM = 500_000  # above, a scan of everything takes over 4 ms
CODED_FROM = 1_000  # fewer do not train codebooks
SURVIVORS = 0.02  # a filter that lets fewer through is answered exactly
FEW = 2_000  # scoring so many rows exactly costs half of a scan of 120,000


class Index(Protocol):
    """Finds rows whose [p ; t] has a large inner product with a query; safe in many threads."""

    def nearest(self, vector: Float32s, count: int, allowed: Bools) -> tuple[Ints, Float32s]:
        """About `count` allowed rows, none twice, and their rough products with a vector [dim]."""
        ...


def make_index(rows: Rows, kind: IndexKind) -> Index | None:
    """The index that suits these rows; None where every row is to be scored."""
    if kind == "auto":
        kind = suited(len(rows))
    if kind == "exact" or len(rows) < CODED_FROM or not rows.dim:
        return None
    from llmrec_ray.search.scan import Scan

    return Scan(rows, probed=1.0 if kind == "scan" else None)


def suited(count: int) -> IndexKind:
    """The kind for so many rows."""
    if count < SCAN_FROM:
        return "exact"
    return "scan" if count < IVF_FROM else "ivf"


def is_selective(survivors: int, count: int) -> bool:
    """Whether so few of `count` rows are left that all of them are scored."""
    return survivors <= max(FEW, int(SURVIVORS * count))
