"""Events in, stored durably out: those for items that the catalogue has, at times that were."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmrec_ray.bodies import AHEAD, in_the_future
from llmrec_ray.errors import InvalidInput, ItemNotFound, NotReady, SearchUnavailable
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.items.log import ItemLog
from llmrec_ray.online.reviews import Reviews
from llmrec_ray.ports import EventStore, Searcher
from llmrec_ray.types import Event


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not stored, by its place in the batch."""

    index: int
    event_id: str
    code: str
    detail: str
    field: str = "item_id"


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of a batch of events."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...]
    user_versions: dict[str, int]


class Intake:
    """Takes batches of events; what shards or the log of live items have is known."""

    def __init__(
        self,
        events: EventStore,
        reviews: Reviews,
        *,
        generations: Pinned,
        searcher: Searcher,
        items: ItemLog | None,
    ) -> None:
        self._events = events
        self._reviews = reviews
        self._generations = generations
        self._searcher = searcher
        self._items = items

    async def learn(self, events: Sequence[Event]) -> Learned:
        """Store events durably; those for unknown items or times to come are rejected one by one.

        While a shard is lost its items cannot be told from unknown ones, and their events are
        accepted. Raises `EventConflict`, `EventStoreUnavailable`.
        """
        unknown = await self._unknown({event.item_id for event in events})
        latest = datetime.now(UTC) + AHEAD
        rejected = tuple(
            _rejected(index, event, late=event.time > latest)
            for index, event in enumerate(events)
            if event.item_id in unknown or event.time > latest
        )
        out = {one.index for one in rejected}
        usable = [event for index, event in enumerate(events) if index not in out]
        stored = await asyncio.to_thread(self._events.append, usable)
        versions = stored.user_versions | await self._reviews.read(usable)
        return Learned(stored.accepted, stored.duplicates, rejected, versions)

    async def _unknown(self, item_ids: set[str]) -> frozenset[str]:
        """The ids that no shard has; none of them while a shard is lost."""

        async def ask(manifest: Manifest) -> frozenset[str]:
            looked = await self._searcher.lookup(manifest.generation, sorted(item_ids))
            return frozenset(item_ids - set(looked.items) if looked.coverage.complete else ())

        try:
            unknown = await self._generations.ask(ask)
        except (SearchUnavailable, NotReady):
            return frozenset()
        if not unknown or self._items is None:
            return unknown
        just_put = await asyncio.to_thread(self._items.current, unknown)  # not on its shard yet
        return unknown - {item_id for item_id, change in just_put.items() if change.item}


def _rejected(index: int, event: Event, *, late: bool) -> Rejected:
    if not late:
        detail = f"no item {event.item_id!r}."
        return Rejected(index, event.event_id, ItemNotFound.code, detail)
    return Rejected(index, event.event_id, InvalidInput.code, in_the_future(event.time), "time")
