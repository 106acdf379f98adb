"""Changes of items in, stored in one order in the event store's database; the newest states out.

A writer takes the row of the sequence first and holds it until it commits. So numbers become
visible in their order, on PostgreSQL too, and two batches never wait for each other's items.
"""

import json
from collections import Counter
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Connection, Engine, RowMapping, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmrec_ray.errors import InvalidInput, VersionConflict
from llmrec_ray.feedback import database
from llmrec_ray.feedback.rows import storable
from llmrec_ray.feedback.tables import item_sequence, live_items
from llmrec_ray.items.log import PAGE, ItemChange, ItemWrite, Outcome, Written
from llmrec_ray.types import FieldValue, Item

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_NEW = ("seq", "version", "title", "fields", "vector", "encoder")
_FIRST = {
    dialect: insert(item_sequence).values(id=1, seq=0).on_conflict_do_nothing()
    for dialect, insert in _INSERTS.items()
}
_LOCK = update(item_sequence).values(seq=item_sequence.c.seq).returning(item_sequence.c.seq)
_ADVANCE = update(item_sequence).values(seq=bindparam("reached"))
_STATES = (
    select(live_items)
    .where(live_items.c.seq > bindparam("after"))
    .order_by(live_items.c.seq)
    .limit(bindparam("most"))
)
AT_ONCE = 500  # ids of one SELECT: SQLite bounds the variables of a statement


class SqlItemLog:
    """The item log on SQLAlchemy; safe to share between threads, never across a fork."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = database.reading(engine)

    def write(self, changes: Sequence[ItemWrite], above: int = 0) -> list[Written]:
        for change in changes:
            _check(change)
        _check_distinct(changes)
        if not changes:
            return []
        with database.translated(self._engine), self._engine.begin() as connection:
            reached = max(_lock(connection), above)
            known = _current(connection, [change.item_id for change in changes])
            written: list[Written] = []
            rows: list[dict[str, Any]] = []
            for change in changes:
                done, row = _applied(change, known.get(change.item_id), reached + 1)
                written.append(done)
                if row is not None:
                    rows.append(row)
                    reached += 1
            if rows:
                connection.execute(_upsert(connection), rows)
                connection.execute(_ADVANCE, {"reached": reached})
        return written

    def since(self, seq: int, limit: int = PAGE) -> list[ItemChange]:
        with self._reading() as connection:
            found = connection.execute(_STATES, {"after": seq, "most": limit}).mappings().all()
        return [_change(row) for row in found]

    def current(self, item_ids: Collection[str]) -> dict[str, ItemChange]:
        usable = [item_id for item_id in item_ids if storable(item_id)]
        with self._reading() as connection:
            return _current(connection, usable)

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        with database.translated(self._engine), self._reader.connect() as connection:
            yield connection


def _lock(connection: Connection) -> int:
    """The last number given out; nobody else gives one out until this transaction ends."""
    connection.execute(_FIRST[connection.dialect.name])
    return connection.execute(_LOCK).scalar_one()


def _applied(
    change: ItemWrite, known: ItemChange | None, seq: int
) -> tuple[Written, dict[str, Any] | None]:
    """What becomes of a change, and the row to store; None where the log says it already."""
    version = known.version if known else 0
    if change.expected is not None and change.expected != version:
        raise VersionConflict(
            f"item {change.item_id!r} has version {version}, not {change.expected}: it was changed"
            " meanwhile, and nothing was stored. Read it again, and send the change anew.",
            item_id=change.item_id,
            version=version,
        )
    if change.expected and change.item and known and known.readable and known.item is None:
        raise VersionConflict(
            f"item {change.item_id!r} is deleted, so there is nothing to change, and nothing was"
            " stored. Leave the version out to put a new item.",
            item_id=change.item_id,
            version=version,
        )
    if known is not None and _same(change, known):
        return Written(change.item_id, version, known.seq, "unchanged"), None
    outcome: Outcome = "deleted" if change.item is None else "stored"
    row = _row(change) | {"seq": seq, "version": version + 1}
    return Written(change.item_id, version + 1, seq, outcome), row


def _same(change: ItemWrite, known: ItemChange) -> bool:
    """Whether the log says this already: its vector follows from the item and the encoder."""
    if not known.readable:
        return False
    if change.item is None or known.item is None:
        return change.item is known.item
    new = replace(change.item, fields=dict(change.item.fields))
    return new == known.item and change.encoder == known.encoder


def _row(change: ItemWrite) -> dict[str, Any]:
    item = change.item
    return {
        "item_id": change.item_id,
        "title": item.title if item else None,
        "fields": json.dumps(dict(item.fields), ensure_ascii=False) if item else None,
        "vector": change.vector if item else None,
        "encoder": change.encoder if item else None,
    }


def _upsert(connection: Connection) -> Any:
    made = _INSERTS[connection.dialect.name](live_items)
    return made.on_conflict_do_update(
        index_elements=[live_items.c.item_id],
        set_={name: made.excluded[name] for name in _NEW},
    )


def _current(connection: Connection, item_ids: Sequence[str]) -> dict[str, ItemChange]:
    found: dict[str, ItemChange] = {}
    for start in range(0, len(item_ids), AT_ONCE):
        wanted = live_items.c.item_id.in_(item_ids[start : start + AT_ONCE])
        rows = connection.execute(select(live_items).where(wanted)).mappings()
        found |= {row["item_id"]: _change(row) for row in rows}
    return found


def _change(row: RowMapping) -> ItemChange:
    item_id, title = row["item_id"], row["title"]
    if title is None:
        return ItemChange(row["seq"], item_id, row["version"], None)
    fields = _fields(row["fields"])
    if fields is None:
        return ItemChange(row["seq"], item_id, row["version"], None, readable=False)
    item = Item(item_id, title, fields)
    return ItemChange(
        row["seq"], item_id, row["version"], item, bytes(row["vector"]), row["encoder"]
    )


def _fields(text: str) -> dict[str, FieldValue] | None:
    """The stored fields; None where something else than this release wrote them."""
    try:
        read = cast("object", json.loads(text))
    except ValueError:
        return None
    if not isinstance(read, dict):
        return None
    fields: dict[str, FieldValue] = {}
    for name, stored in cast("dict[str, object]", read).items():
        value = _value(stored)
        if value is None:
            return None
        fields[name] = value
    return fields


def _value(stored: object) -> FieldValue | None:
    if isinstance(stored, str | float | int):
        return stored
    if isinstance(stored, list):
        tags = cast("list[object]", stored)
        if all(isinstance(tag, str) for tag in tags):
            return tuple(cast("list[str]", tags))
    return None


def _check(change: ItemWrite) -> None:
    texts = [change.item_id]
    if change.item is not None:
        texts.append(change.item.title)
        texts += [one for value in change.item.fields.values() for one in _texts(value)]
    if not all(storable(text) for text in texts):
        shown = change.item_id.encode(errors="replace").decode()
        raise InvalidInput(f"item {shown!r}: texts must be valid Unicode without NUL characters.")


def _texts(value: FieldValue) -> tuple[str, ...]:
    match value:
        case str():
            return (value,)
        case float() | int():
            return ()
        case _:
            return value


def _check_distinct(changes: Sequence[ItemWrite]) -> None:
    counts = Counter(change.item_id for change in changes)
    if repeated := [item_id for item_id, count in counts.items() if count > 1]:
        raise InvalidInput(
            f"item {repeated[0]!r} occurs {counts[repeated[0]]} times in one batch; which of them"
            " is meant to last cannot be told. Send one.",
            field="item_id",
        )
