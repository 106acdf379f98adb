"""Erasures in, digests of what they were about kept; which events they still forbid out."""

from collections.abc import Collection, Sequence
from typing import cast

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from llmrec_ray.feedback.rows import Row, event_key, moment, user_key
from llmrec_ray.feedback.tables import erased_recommendations, erasures, recommendations
from llmrec_ray.ports import ErasedKey, Span

_AT_ONCE = 10_000
_SINCE = (
    select(erasures.c.number, erasures.c.user_key, erasures.c.event_key)
    .where(erasures.c.number > bindparam("after"))
    .order_by(erasures.c.number)
    .limit(_AT_ONCE)
)
_TOMBSTONES = {
    "sqlite": sqlite.insert(erased_recommendations).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(erased_recommendations).on_conflict_do_nothing(),
}
PURGE_TOMBSTONES = delete(erased_recommendations).where(
    erased_recommendations.c.expires_us <= bindparam("now_us")
)


def note(
    connection: Connection,
    user_id: str,
    event_id: str | None,
    *,
    first_us: int | None,
    now_us: int,
) -> tuple[Span, ...]:
    """Write an erasure down, in the transaction that erases; it and the earlier ones of the same.

    `first_us`: the time of the oldest event that goes.
    """
    if connection.dialect.name == "postgresql":  # numbers become visible in their order
        connection.execute(text("LOCK TABLE erasures IN SHARE ROW EXCLUSIVE MODE"))
    row = {
        "user_key": user_key(user_id),
        "event_key": None if event_id is None else event_key(event_id),
        "first_us": first_us,
        "erased_us": now_us,
    }
    connection.execute(insert(erasures), row)
    same = [erasures.c.user_key == row["user_key"], erasures.c.first_us.is_not(None)]
    if event_id is not None:
        same.append(erasures.c.event_key == row["event_key"])
    times = select(erasures.c.first_us, erasures.c.erased_us).where(*same)
    noted = connection.execute(times.order_by(erasures.c.number))
    return tuple(Span(moment(first_us), moment(erased_us)) for first_us, erased_us in noted)


def since(connection: Connection, after: int) -> list[ErasedKey]:
    """The erasures with a number above `after`, in the order of their numbers."""
    found: list[ErasedKey] = []
    while page := connection.execute(_SINCE, {"after": after}).all():
        found += [ErasedKey(*row) for row in page]
        after = found[-1].number
    return found


def forgotten(connection: Connection, rows: Collection[Row], *, users_too: bool) -> frozenset[str]:
    """The ids of the events that were erased; with `users_too` also those of erased users.

    A user's erasure covers the events of until then: what came later is a new user's.
    """
    ids = {event_key(str(row["event_id"])): str(row["event_id"]) for row in rows}
    known = select(erasures.c.event_key).where(erasures.c.event_key.in_(ids))
    gone = {ids[key] for key in connection.scalars(known)} if ids else set[str]()
    if users_too and rows:
        keys = {user: user_key(user) for user in {str(row["user_id"]) for row in rows}}
        until = _erased_until(connection, list(keys.values()))
        for row in rows:
            erased_us = until.get(keys[str(row["user_id"])])
            if erased_us is not None and cast(int, row["time_us"]) <= erased_us:
                gone.add(str(row["event_id"]))
    return frozenset(gone)


def bury(connection: Connection, user_id: str, from_version: int) -> int:
    """Delete the user's answers of that version and later; their ids stay known as erased."""
    theirs = and_(
        recommendations.c.user_id == user_id,
        func.coalesce(recommendations.c.user_version, 0) >= from_version,
    )
    ids = select(recommendations.c.recommendation_id, recommendations.c.expires_us).where(theirs)
    mark_erased(connection, [dict(row) for row in connection.execute(ids).mappings()])
    return connection.execute(delete(recommendations).where(theirs)).rowcount


def mark_erased(connection: Connection, rows: Sequence[Row]) -> None:
    """Remember the ids of erased answers until these had expired anyway."""
    kept = [
        {"recommendation_id": row["recommendation_id"], "expires_us": row["expires_us"]}
        for row in rows
    ]
    if kept:
        kept.sort(key=lambda row: str(row["recommendation_id"]))
        connection.execute(_TOMBSTONES[connection.dialect.name], kept)


def _erased_until(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """When each user was last erased, for those who were."""
    statement = (
        select(erasures.c.user_key, func.max(erasures.c.erased_us))
        .where(erasures.c.user_key.in_(keys), erasures.c.event_key.is_(None))
        .group_by(erasures.c.user_key)
    )
    return {row[0]: row[1] for row in connection.execute(statement)}
