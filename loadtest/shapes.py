"""A profile's name and rate in, arrivals a second at every moment of a run out.

Arrivals do not wait for answers (an open loop): a service that slows down is asked as often as
before, as its users would. The profile `closed` is the other kind, for what the service can do at
most: every caller waits for its answer and asks again at once.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Name = Literal["steady", "ramp", "spike", "closed"]
NAMES: tuple[Name, ...] = get_args(Name)

SPIKE = 5.0
"""A spike is five times the rate."""
RAMP_STEPS = 10
PER_CALLER = 0.2
"""Arrivals a second of one simulated caller; many slow callers make a Poisson stream."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How a run's arrivals go over its seconds; `rate` is the base, in arrivals a second."""

    name: Name
    rate: float
    seconds: float

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"profile {self.name!r} is none of {', '.join(NAMES)}.")
        if not self.rate > 0 or not self.seconds > 0:
            raise ValueError(f"rate {self.rate} and seconds {self.seconds}: both must be over 0.")

    def at(self, second: float) -> float | None:
        """Arrivals a second at that moment; None once the run is over."""
        if second >= self.seconds:
            return None
        done = second / self.seconds
        if self.name == "ramp":
            return self.rate * (int(done * RAMP_STEPS) + 1) / RAMP_STEPS
        if self.name == "spike":
            return self.rate * (SPIKE if 1 / 3 <= done < 1 / 2 else 1.0)
        return self.rate

    def callers(self, second: float) -> int | None:
        """Simulated callers at that moment; where the loop is closed, the rate is their number."""
        rate = self.at(second)
        if rate is None:
            return None
        return max(1, round(rate if self.name == "closed" else rate / PER_CALLER))

    @property
    def open(self) -> bool:
        return self.name != "closed"
