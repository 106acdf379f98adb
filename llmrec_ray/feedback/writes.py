"""Rows of events in, stored once each and counted in their users' versions: inside one transaction.

Every statement touches its rows in the order of their keys, and events before user versions:
however the batches of several writers overlap, none waits for another that waits for it.
"""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from llmrec_ray.errors import EventConflict
from llmrec_ray.feedback.forgotten import forgotten
from llmrec_ray.feedback.rows import Row, user_key
from llmrec_ray.feedback.tables import events, user_versions
from llmrec_ray.ports import Accepted

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_ADVANCE = {
    dialect: insert(user_versions)
    .on_conflict_do_update(
        index_elements=[user_versions.c.user_key],
        set_={"version": user_versions.c.version + 1},
    )
    .returning(user_versions.c.user_key, user_versions.c.version)
    for dialect, insert in _INSERTS.items()
}
_ADD = (
    sqlite.insert(events)
    .on_conflict_do_nothing(index_elements=[events.c.event_id])
    .returning(events.c.event_id)
)
_GIVEN = {
    column.name: Text() if isinstance(column.type, Text) else column.type
    for column in events.c
    if column is not events.c.received and column is not events.c.user_version
}
# One array a column: thousands of rows as values of their own take PostgreSQL three times as long.
_ROWS = (
    func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in _GIVEN.items()))
    .table_valued(*_GIVEN)
    .render_derived()
)
_ADD_ARRAYS = (
    postgresql.insert(events)
    .from_select(list(_GIVEN), select(*_ROWS.c))
    .on_conflict_do_nothing(index_elements=[events.c.event_id])
    .returning(events.c.event_id)
)
_STAMP = update(events).where(events.c.event_id == bindparam("stamped"))
_STAMPED = (
    func.unnest(
        bindparam("ids", type_=ARRAY(Text())), bindparam("versions", type_=ARRAY(BigInteger()))
    )
    .table_valued("id", "version")
    .render_derived()
)
_STAMP_ARRAYS = (
    update(events).values(user_version=_STAMPED.c.version).where(events.c.event_id == _STAMPED.c.id)
)


def store(connection: Connection, rows: Sequence[Row], *, imported: bool = False) -> Accepted:
    """Store what is new and was not erased; a user with something new moves to the next version.

    `EventConflict` where an event id stands for two bodies, in the batch or against what is stored.
    """
    if not rows:
        return Accepted(accepted=0, duplicates=0, user_versions={})
    distinct = _distinct(rows)
    gone = forgotten(connection, distinct.values(), users_too=imported)
    added = _add(connection, [distinct[one] for one in sorted(distinct.keys() - gone)])
    _check_same(connection, distinct, distinct.keys() - added - gone)
    added -= _erased_meanwhile(connection, [distinct[one] for one in added], imported)
    moved = {str(distinct[event_id]["user_id"]) for event_id in added}
    still = {str(row["user_id"]) for row in rows} - moved
    advanced = advance(connection, moved)
    _stamp(connection, {one: advanced[str(distinct[one]["user_id"])] for one in sorted(added)})
    return Accepted(
        accepted=len(added),
        duplicates=len(rows) - len(added),
        user_versions=advanced | _versions(connection, still),
    )


def advance(connection: Connection, users: Iterable[str]) -> dict[str, int]:
    """Move every user to the next version; the rows stay locked until the transaction ends."""
    names = {user_key(user): user for user in users}
    if not names:
        return {}
    rows = [{"user_key": key, "version": 1, "erased": 0} for key in sorted(names)]
    moved = connection.execute(_ADVANCE[connection.dialect.name], rows)
    return {names[key]: version for key, version in moved}


def _add(connection: Connection, rows: Sequence[Row]) -> set[str]:
    """Insert the rows whose event ids are new, and return these."""
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        columns = {name: [row[name] for row in rows] for name in _GIVEN}
        return set(connection.scalars(_ADD_ARRAYS, columns))
    return set(connection.scalars(_ADD, rows))


def _erased_meanwhile(
    connection: Connection, added: Sequence[Row], imported: bool
) -> frozenset[str]:
    """Take out again what another transaction erased since `forgotten` was asked.

    SQLite has one writer at a time, so there is no such time.
    """
    if connection.dialect.name == "sqlite" or not added:
        return frozenset()
    gone = forgotten(connection, added, users_too=imported)
    if gone:
        connection.execute(delete(events).where(events.c.event_id.in_(gone)))
    return gone


def _stamp(connection: Connection, versions: dict[str, int]) -> None:
    """Write down which user version each new event is part of: a replay reads a history by it."""
    if not versions:
        return
    if connection.dialect.name == "postgresql":
        arrays = {"ids": list(versions), "versions": list(versions.values())}
        connection.execute(_STAMP_ARRAYS, arrays)
        return
    rows = [{"stamped": one, "user_version": version} for one, version in versions.items()]
    connection.execute(_STAMP.values(user_version=bindparam("user_version")), rows)


def _distinct(rows: Sequence[Row]) -> dict[str, Row]:
    distinct: dict[str, Row] = {}
    for row in rows:
        event_id = str(row["event_id"])
        if distinct.setdefault(event_id, row)["body"] != row["body"]:
            raise _conflict(event_id)
    return distinct


def _check_same(connection: Connection, rows: dict[str, Row], event_ids: Collection[str]) -> None:
    if not event_ids:
        return
    stored = connection.execute(
        select(events.c.event_id, events.c.body).where(events.c.event_id.in_(event_ids))
    )
    for event_id, body in stored:
        if body != rows[event_id]["body"]:
            raise _conflict(event_id)


def _versions(connection: Connection, users: Iterable[str]) -> dict[str, int]:
    names = {user_key(user): user for user in users}
    if not names:
        return {}
    statement = select(user_versions.c.user_key, user_versions.c.version)
    found = connection.execute(statement.where(user_versions.c.user_key.in_(names)))
    return {names[key]: version for key, version in found}


def _conflict(event_id: str) -> EventConflict:
    return EventConflict(
        f"event id {event_id} was used before for another event; nothing of this batch was stored. "
        "Give every event an id of its own, and resend an event unchanged.",
        event_id=event_id,
    )
