"""What each ask scored under each system comes in; intervals and paired tests by user go out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmrec_ray.types import Float64s, Ints

ROUNDS = 2_000
LEVEL = 0.95
_BLOCK = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users, and between which values it lies at 95 %."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Ours − a peer's for the same users, and two-sided `p`.

    `relative` and its lower bound are by the peer's mean; None where that is 0.
    """

    difference: Interval
    relative: float | None
    relative_low: float | None
    p: float


def by_user(values: Float64s, users: Ints) -> Float64s:
    """Each user's mean over asks; `values` float64 [asks, …], `users` int64 [asks] from 0 on."""
    counts = np.bincount(users)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, users, values)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def resampled(values: Float64s, rounds: int, seed: int) -> Float64s:
    """Means over users drawn again with replacement; [users, series] in, [rounds, series] out."""
    rng = np.random.default_rng(seed)
    users = len(values)
    parts: list[Float64s] = []
    for start in range(0, rounds, _BLOCK):
        drawn = rng.integers(users, size=(min(_BLOCK, rounds - start), users))
        times = np.stack([np.bincount(row, minlength=users) for row in drawn])
        parts.append(times @ values / users)
    return np.concatenate(parts)


def interval(mean: float, means: Float64s) -> Interval:
    """The percentile interval of resampled means, float64 [rounds]."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))


def paired(values: Float64s, means: Float64s, ours: int, peer: int) -> Paired:
    """The test of two series of the same users: [users, series], resampled [rounds, series]."""
    differences = means[:, ours] - means[:, peer]
    base = float(values[:, peer].mean())
    found = interval(float((values[:, ours] - values[:, peer]).mean()), differences)
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    p = min(1.0, max(2 * tail, 1 / len(differences)))
    if base == 0:
        return Paired(found, None, None, p)
    return Paired(found, found.mean / base, found.low / base, p)


def numbered(users: Sequence[str]) -> Ints:
    """User ids as numbers from 0 on, int64 [asks]."""
    _, codes = np.unique(np.array(users), return_inverse=True)
    return codes.astype(np.int64)
