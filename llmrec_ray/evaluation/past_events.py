"""Stored events or event files in; the same events as training reads them, up to a time, out."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from llmrec_ray.catalog.description import CatalogDescription
from llmrec_ray.catalog.events import read_events
from llmrec_ray.catalog.report import Report
from llmrec_ray.errors import InvalidCatalog
from llmrec_ray.feedback.rows import table_events
from llmrec_ray.pipeline import Scanned
from llmrec_ray.types import Event

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class FileEvents:
    """The events of the files that a description names, and what became of their rows."""

    events: tuple[Event, ...]
    report: Report

    def scan(self) -> Iterator[Event]:
        """By (user_id, time, event_id), as an event store does."""
        return iter(self.events)


@dataclass(frozen=True, slots=True)
class Until:
    """The events of `events` up to and with a time."""

    events: Scanned
    last: datetime

    def scan(self) -> Iterable[Event]:
        return (event for event in self.events.scan() if event.time <= self.last)


def file_events(
    described: CatalogDescription, item_ids: Collection[str], rejected: Path
) -> FileEvents:
    """Read and clean; rows that cannot be used go to a JSONL file in the folder `rejected`.

    Raises `InvalidCatalog` where the description names no events, or a file cannot be used.
    """
    if described.events is None:
        raise InvalidCatalog(
            "the description has no events to learn from. Add `events:` with files and columns, or"
            " leave --catalog out to learn from the event store.",
            field="events",
        )
    read = read_events(described, item_ids, rejected / "events.jsonl")
    every = [event for batch in table_events(read.events, _BATCH) for event in batch]
    every.sort(key=lambda event: (event.user_id, event.time, event.event_id))
    return FileEvents(tuple(every), read.report)
