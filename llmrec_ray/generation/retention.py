"""How much of what was published a collection keeps, and what it keeps unless told otherwise."""

from dataclasses import dataclass
from datetime import timedelta

KEEP = 3
GRACE_HOURS = 24


@dataclass(frozen=True, slots=True)
class Retention:
    """What stays: the `keep` generations that were current last, and all that is within `grace`."""

    keep: int = KEEP
    grace: timedelta = timedelta(hours=GRACE_HOURS)
