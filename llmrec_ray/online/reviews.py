"""Reviews in, what an encoder reads in their texts stored beside them: never in an answer's way.

A review is durable before it is read. Where the embedding pool is away or late the text waits: it
is read when the user next asks for something, and counts from the answer after that.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from llmrec_ray.errors import EmbedderUnavailable, EventStoreUnavailable
from llmrec_ray.ports import EventStore, ReviewReader
from llmrec_ray.types import Event, Reading

_log = logging.getLogger(__name__)

AT_ONCE = 16
"""Texts in the pool at a time: a batch of reviews must not fill the queue of those who ask."""

WAITING = 1_000
"""Texts that wait to be read; what comes on top is found again when its user asks again."""


class Reviews:
    """Has reviews read by the pool, on the event loop; `within_s` bounds what a caller waits.

    Without a reader reviews are never read, and count by their items alone.
    """

    def __init__(
        self, events: EventStore, reader: ReviewReader | None, *, within_s: float = 2.0
    ) -> None:
        self._events = events
        self._reader = reader
        self._within_s = within_s
        self._waiting: dict[str, Event] = {}
        self._working: asyncio.Task[None] | None = None

    async def readings(self, texts: Mapping[str, str]) -> dict[str, Reading]:
        """What is read of the texts in time, by the same names; the first failure ends the rest."""
        found: dict[str, Reading] = {}
        reader = self._reader
        if reader is None or not texts:
            return found
        left = iter(texts.items())

        async def read_some() -> None:
            for name, text in left:
                found[name] = await reader.read(text)

        tasks = [asyncio.create_task(read_some()) for _ in range(min(AT_ONCE, len(texts)))]
        try:
            await asyncio.wait(tasks, timeout=self._within_s, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, EmbedderUnavailable):
                raise ended
        if missed := len(texts) - len(found):
            _log.warning("reviews_unread", extra={"reviews": missed})
        return found

    async def read(self, events: Sequence[Event]) -> dict[str, int]:
        """Read the reviews among stored events, in time or later; the users' new versions."""
        texts = {event.event_id: event.text for event in events if event.text is not None}
        readings = await self.readings(texts)
        if not readings:
            return {}
        try:
            return await asyncio.to_thread(self._events.keep_readings, readings)
        except EventStoreUnavailable as error:  # the events themselves are stored already
            _log.warning("readings_lost", extra={"reviews": len(readings), "error": error.code})
            return {}

    def later(self, events: Sequence[Event]) -> None:
        """Read these in the background, where there is room for them."""
        if self._reader is None:
            return
        for event in events[: WAITING - len(self._waiting)]:
            self._waiting.setdefault(event.event_id, event)
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work())

    async def settled(self) -> None:
        """Return once nothing waits to be read."""
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        while batch := list(self._waiting.values())[:AT_ONCE]:
            await self.read(batch)
            for event in batch:
                del self._waiting[event.event_id]
