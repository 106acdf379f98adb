"""Stored events in, Parquet objects under `exports/` out; and those rewritten without the erased.

An export is `exports/NAME/PART-HASH.parquet`, by (user, time, event id). Objects are written once,
so a part that holds something erased is written anew, under the hash of its new bytes, before the
old one goes: a reader finds every other row at any moment.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (pyarrow's stubs leave arrays of a generic type unknown)

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llmrec_ray.errors import Corrupt, InvalidInput
from llmrec_ray.feedback.rows import event_key, user_key
from llmrec_ray.ports import ErasedKey, EventStore, ObjectStore
from llmrec_ray.schemas import EVENTS_SCHEMA
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.tables import content_hash
from llmrec_ray.types import Bools, Event

EXPORTS = "exports"
ROWS = 100_000
"""Events of one object: about 5 MB, which one process reads and rewrites without trouble."""

Gone = Callable[[pa.Table], Bools]
"""Which rows of a part were erased, bool [rows]."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    name: str
    events: int
    keys: tuple[str, ...]


def export_events(objects: ObjectStore, events: EventStore, name: str) -> Exported:
    """Write every stored event; what is erased while that goes on is not in it at the end.

    `InvalidInput` where the name cannot be a key's part, or is taken.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise InvalidInput(
            f"{name!r} cannot name an export: use up to 64 letters, digits, - and _.", field="name"
        )
    if objects.list(f"{EXPORTS}/{name}/"):
        raise InvalidInput(f"there is an export {name} already; choose another name.", field="name")
    before = _last(events.erasures(0))
    for number, table in enumerate(_tables(events.scan())):
        _write(objects, f"{EXPORTS}/{name}/{number:05d}", table)
    if erased := events.erasures(before):
        rewrite(objects, lambda table: _rows_of(table, erased), f"{EXPORTS}/{name}/")
    keys = tuple(objects.list(f"{EXPORTS}/{name}/"))
    return Exported(name, sum(_read(objects, key).num_rows for key in keys), keys)


def without_user(objects: ObjectStore, user_id: str) -> int:
    """Take a user out of every export; how many objects that changed."""
    return rewrite(objects, lambda table: _equal(table, "user_id", user_id))


def without_event(objects: ObjectStore, event_id: str) -> int:
    """Take an event out of every export; how many objects that changed."""
    return rewrite(objects, lambda table: _equal(table, "event_id", event_id))


def rewrite(objects: ObjectStore, gone: Gone, prefix: str = f"{EXPORTS}/") -> int:
    """Write every part anew that holds rows which are `gone`; how many these were.

    A part that another process rewrites meanwhile is looked for again under its new name.
    """
    changed = 0
    while found := [key for key in objects.list(prefix) if _holds(objects, key, gone)]:
        for key in found:
            _without(objects, key, gone)
        changed += len(found)
    return changed


def _holds(objects: ObjectStore, key: str, gone: Gone) -> bool:
    table = _read(objects, key)
    return bool(gone(table).any())


def _without(objects: ObjectStore, key: str, gone: Gone) -> None:
    table = _read(objects, key)
    left = table.filter(pa.array(~gone(table)))
    if left.num_rows:
        _write(objects, key.rpartition("-")[0], left)
    objects.delete(key)


def _tables(events: Iterable[Event]) -> Iterator[pa.Table]:
    """The events as tables of `EVENTS_SCHEMA`, `ROWS` at a time."""
    rest = iter(events)
    while part := list(islice(rest, ROWS)):
        yield _table(part)


def _table(events: Sequence[Event]) -> pa.Table:
    columns = {name: [getattr(one, name) for one in events] for name in EVENTS_SCHEMA.names}
    return pa.table(columns, schema=EVENTS_SCHEMA)


def _write(objects: ObjectStore, stem: str, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    objects.create(f"{stem}-{content_hash(data)[:16]}.parquet", data)


def _read(objects: ObjectStore, key: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(objects.get(key)))
    except (pa.ArrowInvalid, OSError) as cause:
        raise Corrupt(
            f"{key} is no Parquet file of events. Delete that object: an erasure must read every"
            " object below exports/.",
            key=key,
        ) from cause


def _equal(table: pa.Table, column: str, value: str) -> Bools:
    return np.array([one == value for one in texts(table, column)], dtype=np.bool_)


def _rows_of(table: pa.Table, erased: Sequence[ErasedKey]) -> Bools:
    """The rows of users and events that are known by their digests alone."""
    users = {one.user_key for one in erased if one.event_key is None}
    keys = {one.event_key for one in erased if one.event_key is not None}
    return np.array(
        [
            user_key(user) in users or event_key(event) in keys
            for user, event in zip(texts(table, "user_id"), texts(table, "event_id"), strict=True)
        ],
        dtype=np.bool_,
    )


def _last(erased: Sequence[ErasedKey]) -> int:
    return erased[-1].number if erased else 0


def export_name(now: datetime) -> str:
    """A name that sorts by time."""
    return now.strftime("%Y%m%dT%H%M%SZ")
