"""Every call's kind, latency and outcome in, counts and percentiles per kind out; ledgers add up.

Latencies are kept in buckets that are 2 % wide, so a ledger's size does not grow with the run and
ledgers of several processes merge without loss.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

WIDTH = math.log(1.02)
FLOOR_MS = 0.01
MOST_REASONS = 50


@dataclass(slots=True)
class Kind:
    """What became of the calls of one kind; refused ones say when to try again."""

    calls: int = 0
    failed: int = 0
    refused: int = 0
    degraded: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    def percentile_ms(self, share: float) -> float | None:
        """The latency that this share of the answered calls stays within; None without calls."""
        wanted, seen = share * self.buckets.total(), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return FLOOR_MS * math.exp((bucket + 0.5) * WIDTH)
        return None


class Ledger:
    """The book of a run."""

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self.reasons: Counter[str] = Counter()

    def answered(self, kind: str, ms: float, *, degraded: bool = False) -> None:
        self._at(kind).calls += 1
        self._at(kind).degraded += degraded
        self._at(kind).buckets[int(math.log(max(ms, FLOOR_MS) / FLOOR_MS) / WIDTH)] += 1

    def refused(self, kind: str, code: str) -> None:
        """Count a refusal, by the code of its problem."""
        self._at(kind).calls += 1
        self._at(kind).refused += 1
        self._because(f"{kind}: refused, {code}")

    def failed(self, kind: str, reason: str) -> None:
        """Count a failure; reasons beyond the first fifty different ones are counted together."""
        self._at(kind).calls += 1
        self._at(kind).failed += 1
        self._because(f"{kind}: {reason}")

    def _because(self, known: str) -> None:
        full = known not in self.reasons and len(self.reasons) >= MOST_REASONS
        self.reasons["other reasons" if full else known] += 1

    def add(self, other: Self) -> None:
        for name, kind in other.kinds.items():
            mine = self._at(name)
            mine.calls += kind.calls
            mine.failed += kind.failed
            mine.refused += kind.refused
            mine.degraded += kind.degraded
            mine.buckets.update(kind.buckets)
        self.reasons.update(other.reasons)

    def to_json(self) -> dict[str, Any]:
        kinds = {
            name: {
                "calls": kind.calls,
                "failed": kind.failed,
                "refused": kind.refused,
                "degraded": kind.degraded,
                "buckets": {str(bucket): count for bucket, count in sorted(kind.buckets.items())},
            }
            for name, kind in sorted(self.kinds.items())
        }
        return {"kinds": kinds, "reasons": dict(self.reasons)}

    @classmethod
    def of_json(cls, read: Mapping[str, Any]) -> Self:
        ledger = cls()
        for name, kind in read["kinds"].items():
            buckets = Counter({int(bucket): count for bucket, count in kind["buckets"].items()})
            ledger.kinds[name] = Kind(**{**kind, "buckets": buckets})
        ledger.reasons = Counter(read["reasons"])
        return ledger

    def _at(self, kind: str) -> Kind:
        return self.kinds.setdefault(kind, Kind())
