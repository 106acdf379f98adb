"""Event files and the catalogue's item ids come in; a clean event table and a report go out.

Where the files have no time, time is made of the order, so that newer still means later: the value
of the order column, or else the row's place in its files, is read as seconds since 1970.

Where the files have no event ids, an id is the BLAKE2b hash of user, item, type, time and how often
that combination came before: reading the same rows again gives the same ids, in any order.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (the types that pyarrow brings leave its arrays unknown)

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import cast, get_args

import pyarrow as pa

from llmrec_ray.catalog.description import (
    CatalogDescription,
    EventsDescription,
    ItemMap,
    TimeUnit,
)
from llmrec_ray.catalog.read import read_rows
from llmrec_ray.catalog.repair import clean_text
from llmrec_ray.catalog.report import Report, Tally
from llmrec_ray.catalog.shape import Wanted
from llmrec_ray.errors import InvalidCatalog
from llmrec_ray.schemas import EVENTS_SCHEMA
from llmrec_ray.types import EventType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_TYPES: frozenset[str] = frozenset(get_args(EventType))
_REVIEW_CHARS = 10_000

_Values = dict[str, str | None]
_Clean = tuple[str, str, str, str, float | None, str | None, datetime]
"""A row of `EVENTS_SCHEMA`."""


@dataclass(frozen=True, slots=True)
class CleanedEvents:
    """Past events by `schemas.EVENTS_SCHEMA`, in the order of the files."""

    events: pa.Table
    report: Report


class _Rejected(Exception):
    """Why a row is no event."""


def read_events(
    description: CatalogDescription, item_ids: Collection[str], rejected_to: Path | None = None
) -> CleanedEvents:
    """Read the described event files; events on items that are not in `item_ids` are rejected.

    Raises `InvalidCatalog` for a file that cannot be used, and where no row is kept.
    """
    with Tally("events", rejected_to) as tally:
        described = description.events
        batches = _batches(described, description, set(item_ids), tally) if described else ()
        events = pa.Table.from_batches(batches, EVENTS_SCHEMA)
        return CleanedEvents(events, tally.report())


def _batches(
    described: EventsDescription, catalog: CatalogDescription, known: set[str], tally: Tally
) -> Iterator[pa.RecordBatch]:
    """One pass; memory holds the clean events, their ids and one raw batch."""
    rows = _Rows(described, known, catalog.limits.id_chars)
    for batch in read_rows(described, _wanted(described), tally):
        clean: list[_Clean] = []
        for index, values in enumerate(cast("list[_Values]", batch.table.to_pylist())):
            try:
                clean.append(rows.clean(values))
            except _Rejected as cause:
                place = int(batch.rows[index])
                tally.reject(batch.file, place, str(cause), batch.values(index))
        tally.keep(len(clean))
        columns = list(zip(*clean, strict=True)) or [()] * len(EVENTS_SCHEMA)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, EVENTS_SCHEMA, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=EVENTS_SCHEMA)


def _wanted(described: EventsDescription) -> list[Wanted]:
    columns = described.columns.model_dump(exclude_none=True)
    return [Wanted(name, column) for name, column in columns.items()]


class _Rows:
    """Cleans one row after the other: what was seen before decides on ids and on order."""

    def __init__(self, described: EventsDescription, known: set[str], id_chars: int) -> None:
        self._described = described
        self._known = known
        self._id_chars = id_chars
        self._item_of = _item_map(described.item_map) if described.item_map else None
        self._place = 0
        self._ids: set[str] = set()
        self._times_before: dict[str, int] = {}

    def clean(self, values: _Values) -> _Clean:
        """The event of one row; raises `_Rejected`."""
        self._place += 1
        user_id = self._checked("user id", values["user"])
        item_id = self._item(values["item"])
        kind = self._type(values)
        value = _number(values.get("value"))
        if kind == "rating" and value is None:
            raise _Rejected("rating without a value")
        raw_text = values.get("text")
        text = clean_text(raw_text, _REVIEW_CHARS)[0] if raw_text else None
        if kind == "review" and not text:
            raise _Rejected("review without text")
        time = self._time(values)
        if self._described.columns.event_id:
            event_id = self._checked("event id", values["event_id"])
            if event_id in self._ids:
                raise _Rejected("duplicate event id")
        else:
            event_id = self._derived((user_id, item_id, kind, time.isoformat()))
        self._ids.add(event_id)
        return event_id, user_id, item_id, kind, value, text or None, time

    def _checked(self, what: str, raw: str | None) -> str:
        text = (raw or "").strip()
        if not text:
            raise _Rejected(f"missing {what}")
        if len(text) > self._id_chars:
            raise _Rejected(f"{what} over {self._id_chars} characters")
        if not text.isprintable():
            raise _Rejected(f"control characters in the {what}")
        return text

    def _item(self, raw: str | None) -> str:
        item_id = self._checked("item id", raw)
        if self._item_of is not None:
            item_id = self._item_of.get(item_id, "")
        if item_id not in self._known:
            raise _Rejected("unknown item")
        return item_id

    def _type(self, values: _Values) -> EventType:
        if self._described.type is not None:
            return self._described.type
        raw = (values["type"] or "").strip()
        kind = self._described.types.get(raw, raw)
        if kind not in _TYPES:
            raise _Rejected("unknown event type")
        return cast("EventType", kind)

    def _time(self, values: _Values) -> datetime:
        columns = self._described.columns
        if columns.time:
            return _instant(values["time"], self._described.time_unit)
        if columns.order:
            order = _number(values["order"], "order")
            if order is None:
                raise _Rejected("missing order")
            return _after_epoch(order, "order")
        return _after_epoch(self._place, "order")

    def _derived(self, parts: tuple[str, ...]) -> str:
        first = _hash(parts)
        if first not in self._ids:
            return first
        before = self._times_before[first] = self._times_before.get(first, 0) + 1
        return _hash((*parts, str(before)))


def _hash(parts: tuple[str, ...]) -> str:
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def _number(raw: str | None, what: str = "value") -> float | None:
    text = (raw or "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or "_" in text:
        raise _Rejected(f"malformed {what}")
    return number


def _instant(raw: str | None, unit: TimeUnit) -> datetime:
    if unit == "iso":
        return _iso((raw or "").strip())
    number = _number(raw, "time")
    if number is None:
        raise _Rejected("missing time")
    return _after_epoch(number / 1000 if unit == "milliseconds" else number, "time")


def _iso(text: str) -> datetime:
    if not text:
        raise _Rejected("missing time")
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Rejected("malformed time") from None
    return _in_range(time, "time")


def _after_epoch(seconds: float, what: str) -> datetime:
    try:
        return _in_range(_EPOCH + timedelta(seconds=seconds), what)
    except OverflowError:
        raise _Rejected(f"{what} out of range (1970 to 2200)") from None


def _in_range(time: datetime, what: str) -> datetime:
    if not _EPOCH <= time < _LATEST:
        raise _Rejected(f"{what} out of range (1970 to 2200)")
    return time


def _item_map(described: ItemMap) -> dict[str, str]:
    """From the event files' item ids to the catalogue's; rows without both are left out."""
    wanted = [Wanted("source", described.source), Wanted("target", described.target)]
    pairs: dict[str, str] = {}
    with Tally("item map") as tally:
        for batch in read_rows(described, wanted, tally):
            for row in cast("list[_Values]", batch.table.to_pylist()):
                if row["source"] and row["target"]:
                    pairs.setdefault(row["source"].strip(), row["target"].strip())
    if not pairs:
        raise InvalidCatalog(
            f"events.item_map: no pair of ids in {described.paths[0]}. Correct source and target.",
            file=str(described.paths[0]),
            field="events.item_map",
        )
    return pairs
