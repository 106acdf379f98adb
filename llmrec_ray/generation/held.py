"""What one shard has loaded: two generations at most; one that callers still use is not dropped.

Callers move from one generation to the next by themselves, each when every shard has loaded it. So
one that is asked for is in use, however old it is, and one that nobody asked for lately is not.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from threading import Lock
from typing import Generic, TypeVar

MOST = 2
IN_USE_S = 5.0
"""Longer than callers take, one after the other, to move on to what all shards have loaded."""
WAITS_S = 30.0
"""For so long a new one waits: a replay now and then must not keep it out for ever."""

T = TypeVar("T")


class Held(Generic[T]):
    """Loaded generations, the one that was made current last at the end; safe for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loaded: OrderedDict[str, T] = OrderedDict()
        self._asked: dict[str, float] = {}
        self._waiting: tuple[str, float] | None = None
        self._lock = Lock()

    def now(self) -> dict[str, T]:
        """All of them; what comes later does not show in it."""
        with self._lock:
            return dict(self._loaded)

    def still(self) -> "Held[T]":
        """The same as it is now: what comes later does not show in it, but who asks it does."""
        seen = copy(self)
        seen._loaded = OrderedDict(self.now())  # noqa: SLF001 it is of this very class
        return seen

    def asked(self, generation: str) -> T | None:
        """One that a caller asks for, which keeps it in use; None where it is not held."""
        with self._lock:
            if (found := self._loaded.get(generation)) is not None:
                self._asked[generation] = self._clock()
            return found

    def put(self, generation: str, loaded: T) -> None:
        """Add one; beyond two, the one goes that was not asked for for longest."""
        with self._lock:
            self._loaded[generation] = loaded
            self._waiting = None
            while len(self._loaded) > MOST:
                gone = self._least_in_use(generation)
                del self._loaded[gone]
                self._asked.pop(gone, None)

    def change(self, generation: str, loaded: T) -> None:
        """Put another in the place of one that is held."""
        with self._lock:
            if generation in self._loaded:
                self._loaded[generation] = loaded

    def wanted(self, generation: str) -> bool:
        """Whether it is held already; one that is made current again is in use from then on."""
        with self._lock:
            if generation not in self._loaded:
                return False
            if generation != next(reversed(self._loaded)):
                self._loaded.move_to_end(generation)
                self._asked[generation] = self._clock()
            return True

    def in_the_way(self, generation: str) -> str | None:
        """What callers that still ask for it would lose by `put`; None where that is nothing.

        Not for ever: `WAITS_S` after it was first asked about a generation, nothing is.
        """
        with self._lock:
            if generation in self._loaded or len(self._loaded) < MOST:
                return None
            oldest, now = self._least_in_use(generation), self._clock()
            asked = self._asked.get(oldest)
            if asked is None or now >= asked + IN_USE_S:
                return None
            if self._waiting is None or self._waiting[0] != generation:
                self._waiting = (generation, now)
            return oldest if now < self._waiting[1] + WAITS_S else None

    def _least_in_use(self, but: str) -> str:
        others = (name for name in self._loaded if name != but)
        return min(others, key=lambda name: self._asked.get(name, float("-inf")))
