"""Erasures that others made in, the users whose remembered state must go out."""

from llmrec_ray.ports import EventStore


class Elsewhere:
    """Follows the erasures of an event store, each told once; its calls block."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._last = 0

    def look(self) -> frozenset[bytes]:
        """The digests of users of whom something was erased since the last look."""
        found = self._events.erasures(self._last)
        if found:
            self._last = found[-1].number
        return frozenset(one.user_key for one in found)
