"""Messages from a stream in, handed to the handlers of their subjects; acked once that is durable.

One batch at a time, while the next is fetched: two are in flight at most. Of a batch each subject's
messages are handled together, in the stream's order. While a store or the broker is away it waits,
and nothing is acked. A message that can never be used goes to the dead letters, and holds up none.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from llmrec_ray.errors import (
    EmbedderUnavailable,
    NotReady,
    StoreUnavailable,
    StreamUnavailable,
    Unavailable,
)
from llmrec_ray.streams.handlers import Handled, Handler, unknown_subject
from llmrec_ray.streams.meters import STORES, Meters, Part
from llmrec_ray.streams.port import Message, Stream

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
MEASURED_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages of one batch, how long a fetch waits for the first, and the longest pause."""

    batch: int
    wait_s: float
    retry_s: float


class Consumer:
    """Runs until it is told to stop; then the batch in hand is finished, or given back."""

    def __init__(
        self, stream: Stream, handlers: Mapping[str, Handler], pace: Pace, meters: Meters
    ) -> None:
        self._stream = stream
        self._handlers = handlers
        self._pace = pace
        self._meters = meters
        self._stopping = asyncio.Event()
        self._tries = 0
        self._measured: float | None = None

    def stop(self) -> None:
        """Ask `run` to end; call it from the event loop."""
        self._stopping.set()

    async def run(self, *, until_empty: bool = False) -> None:
        """Consume; with `until_empty`, return once everything in the stream is applied."""
        ahead: asyncio.Task[list[Message]] | None = None
        try:
            while not self._stopping.is_set():
                fetching, ahead = ahead or self._fetching(), None
                try:
                    messages = await fetching
                    if messages:
                        ahead = self._fetching()  # the broker works while the store does
                    await self._take(messages)
                    await self._measure(always=not messages)
                except StreamUnavailable as error:
                    await _dropped(ahead)  # what it has comes again, after what was not acked
                    ahead = None
                    await self._pause("broker", error)
                    continue
                self._reached("broker")
                if until_empty and not messages and not self._meters.lag:
                    return
            if ahead is not None:
                with suppress(StreamUnavailable):
                    await self._stream.release(await ahead)
        finally:
            await _dropped(ahead)

    def _fetching(self) -> asyncio.Task[list[Message]]:
        return asyncio.ensure_future(self._stream.fetch(self._pace.batch, self._pace.wait_s))

    async def _take(self, messages: Sequence[Message]) -> None:
        waiting = _by_subject(messages)
        while waiting:
            subject, part = waiting[0]
            handled = await self._handled(subject, [one.body for one in part])
            if handled is None:
                left = (one for _, part in waiting for one in part)
                await self._stream.release(sorted(left, key=lambda one: one.place))
                return
            for index, reason in sorted(handled.poison.items()):
                await self._stream.bury(part[index], reason)
                log.warning(
                    "message_buried",
                    extra={"subject": subject, "place": part[index].place, "reason": reason},
                )
            await self._stream.ack(part)
            self._count(handled)
            del waiting[0]

    async def _handled(self, subject: str, bodies: Sequence[bytes]) -> Handled | None:
        """What the handler made of the bodies; None where a store is away and it is to stop."""
        handler = self._handlers.get(subject) or unknown_subject(subject)
        while True:
            try:
                handled = await asyncio.to_thread(handler, bodies)
            except Unavailable as error:
                await self._pause(_part(error), error)
                if self._stopping.is_set():
                    return None
            else:
                self._reached(*STORES)
                return handled

    async def _pause(self, part: Part, error: Unavailable) -> None:
        """Wait longer each time, up to `retry_s`, or until it is to stop."""
        seconds = min(self._pace.retry_s, FIRST_PAUSE_S * 2 ** min(self._tries, 20))
        self._tries += 1
        self._meters.waiting[part] = True
        log.warning(
            "consume_waiting", extra={"part": part, "seconds": seconds, "reason": str(error)}
        )
        if part != "broker":
            with suppress(StreamUnavailable):
                await self._measure()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _reached(self, *parts: Part) -> None:
        for part in parts:
            if self._meters.waiting[part]:
                self._meters.waiting[part] = False
                log.info("consume_resumed", extra={"part": part})
        self._tries = 0

    def _count(self, handled: Handled) -> None:
        self._meters.accepted += handled.accepted
        self._meters.duplicates += handled.duplicates
        self._meters.dead_letters += len(handled.poison)

    async def _measure(self, *, always: bool = False) -> None:
        """Ask for the lag, at most once a second while messages come."""
        now = asyncio.get_running_loop().time()
        if always or self._measured is None or now - self._measured >= MEASURED_EVERY_S:
            self._meters.lag = await self._stream.lag()
            self._measured = now


async def _dropped(fetching: asyncio.Task[list[Message]] | None) -> None:
    if fetching is not None:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)


def _by_subject(messages: Sequence[Message]) -> list[tuple[str, list[Message]]]:
    """The messages of each subject, in their order: short runs would be short transactions."""
    found: dict[str, list[Message]] = {}
    for one in messages:
        found.setdefault(one.subject, []).append(one)
    return list(found.items())


def _part(error: Unavailable) -> Part:
    """What is away, by the error that a handler raised."""
    match error:
        case StoreUnavailable():
            return "object_store"
        case NotReady():
            return "generation"
        case EmbedderUnavailable():
            return "embedder"
        case _:
            return "event_store"
