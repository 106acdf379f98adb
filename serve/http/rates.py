"""Names and times in, how long each caller must wait out: one token bucket a name."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """`burst` requests at once, then `per_s` each second, for every name by itself.

    Holds one bucket a name, so the caller bounds the names.
    """

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str, now: float) -> float:
        """0 when the request may pass at `now`; else the seconds until it may."""
        bucket = self._buckets.setdefault(name, _Bucket(self._burst, now))
        grown = bucket.tokens + max(0.0, now - bucket.at) * self._per_s
        bucket.tokens, bucket.at = min(float(self._burst), grown), now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self._per_s
