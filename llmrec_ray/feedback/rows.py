"""Events in, checked rows of the `events` table out, and back."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import isfinite
from typing import Any, get_args

import pyarrow as pa
from sqlalchemy import RowMapping

from llmrec_ray.errors import InvalidInput
from llmrec_ray.schemas import EVENTS_SCHEMA
from llmrec_ray.types import Event, EventType

Row = dict[str, str | int | float | bytes | None]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_TYPES = frozenset(get_args(EventType))
_NAMES = ("event_id", "user_id", "item_id", "type", "value", "text", "time")
_OPTIONAL = frozenset({"value", "text"})


def microseconds(time: datetime) -> int:
    """A timezone-aware time as microseconds since 1970 UTC, exactly."""
    return (time - EPOCH) // _TICK


def moment(us: int) -> datetime:
    """The time of `microseconds`, in UTC."""
    return EPOCH + us * _TICK


def storable(text: str) -> bool:
    """Whether both databases can hold the text: no NUL, no lone surrogates."""
    return "\0" not in text and text.encode(errors="replace").decode() == text


def user_key(user_id: str) -> bytes:
    """A digest that stands for the user where the id itself must not stay readable, 16 bytes."""
    if not storable(user_id):
        raise InvalidInput("user_id must be valid Unicode without NUL characters.", field="user_id")
    return blake2b(user_id.encode(), digest_size=16).digest()


def event_key(event_id: str) -> bytes:
    """A digest that stands for an erased event where its id must not stay readable, 16 bytes."""
    return blake2b(event_id.encode(), digest_size=16, person=b"event").digest()


def event_row(event: Event) -> Row:
    """The row of one event; `InvalidInput` for what no database could give back unchanged."""
    if event.time.utcoffset() is None:
        raise _unusable(event, "time", "needs a time zone, such as 2026-01-31T12:00:00Z")
    if event.type not in _TYPES:
        raise _unusable(event, "type", f"must be one of {', '.join(sorted(_TYPES))}")
    value = None if event.value is None else float(event.value)
    texts = (event.event_id, event.user_id, event.item_id, event.text, event.recommendation_id)
    if not all(text is None or storable(text) for text in texts):
        raise _unusable(event, "text", "must be valid Unicode without NUL characters")
    if value is not None and not isfinite(value):
        raise _unusable(event, "value", "must be a finite number")
    time = microseconds(event.time)
    body = json.dumps([*texts, event.type, value, time]).encode()
    return {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "type": event.type,
        "value": value,
        "text": event.text,
        "time_us": time,
        "recommendation_id": event.recommendation_id,
        "body": blake2b(body, digest_size=16).digest(),
    }


def row_event(row: RowMapping) -> Event:
    """The event of a stored row; its time is in UTC."""
    return Event(
        event_id=row["event_id"],
        user_id=row["user_id"],
        item_id=row["item_id"],
        type=row["type"],
        time=moment(row["time_us"]),
        value=row["value"],
        text=row["text"],
        recommendation_id=row["recommendation_id"],
    )


def table_events(table: pa.Table, batch: int) -> Iterator[list[Event]]:
    """The events of a table of `EVENTS_SCHEMA`, in its order, `batch` at a time.

    `InvalidInput` where the columns differ, a required cell is empty, or a time is out of range.
    """
    _check_columns(table)
    for part in table.to_batches(max_chunksize=batch):
        try:
            columns: list[list[Any]] = [part.column(name).to_pylist() for name in _NAMES]
        except (ValueError, OverflowError) as cause:
            raise InvalidInput(
                "the event table holds a time outside the years 1 to 9999. "
                "Check the unit of its column `time`.",
                field="time",
            ) from cause
        yield [
            Event(event_id, user_id, item_id, type=kind, time=time, value=value, text=text)
            for event_id, user_id, item_id, kind, value, text, time in zip(*columns, strict=True)
        ]


def _check_columns(table: pa.Table) -> None:
    if sorted(table.column_names) != sorted(_NAMES):
        raise InvalidInput(
            f"an event table needs exactly the columns {', '.join(_NAMES)}; "
            f"this one has {', '.join(table.column_names)}."
        )
    for name, wanted in zip(EVENTS_SCHEMA.names, map(str, EVENTS_SCHEMA.types), strict=True):
        column = table.column(name)
        if str(column.type) != wanted:
            raise InvalidInput(
                f"column {name} of the event table is {column.type}, not {wanted}. Cast it.",
                field=name,
            )
        if column.null_count and name not in _OPTIONAL:
            raise InvalidInput(
                f"column {name} of the event table is empty in {column.null_count} rows. "
                "Fill or drop them.",
                field=name,
            )


def _unusable(event: Event, field: str, rule: str) -> InvalidInput:
    event_id = event.event_id.encode(errors="replace").decode()
    return InvalidInput(f"event {event_id}: {field} {rule}.", field=field, event_id=event_id)
