"""Readings of reviews in, rows beside their events out: the SQL of one table.

A reading changes its user's next answer, so storing one advances the user version, and a replay at
an earlier version does without it.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Delete, bindparam, delete, insert, select

from llmrec_ray.feedback.rows import user_key
from llmrec_ray.feedback.tables import events, readings, user_versions
from llmrec_ray.feedback.writes import advance
from llmrec_ray.types import Reading

_KNOWN = select(readings.c.event_id, readings.c.encoder, readings.c.lean, readings.c.vector).where(
    readings.c.event_id.in_(bindparam("event_ids", expanding=True)),
    readings.c.encoder == bindparam("encoder"),
    readings.c.user_version <= bindparam("at"),
)
_AUTHORS = select(events.c.event_id, events.c.user_id).where(
    events.c.event_id.in_(bindparam("event_ids", expanding=True))
)
_STORED = select(readings.c.event_id, readings.c.encoder).where(
    readings.c.event_id.in_(bindparam("event_ids", expanding=True))
)


def known(
    connection: Connection, event_ids: Sequence[str], encoder: str, at: int
) -> dict[str, Reading]:
    """By event id, what the encoder read and was stored when the user had the version `at`."""
    names = {"event_ids": list(event_ids), "encoder": encoder, "at": at}
    return {
        event_id: Reading(read_by, lean, bytes(vector))
        for event_id, read_by, lean, vector in connection.execute(_KNOWN, names)
    }


def keep(connection: Connection, read: Mapping[str, Reading]) -> dict[str, int]:
    """Store what is new, inside one transaction; the versions of the users that it moves.

    An erasure and another replica's reading of the same review wait for the users' rows, as this
    does, before they look at events: none is stored twice, and none outlives its event.
    """
    _hold(connection, {user for _, user in _authors(connection, read)})
    authors = dict(_authors(connection, read))  # again: some may have been erased until now
    stored = {(row[0], row[1]) for row in connection.execute(_STORED, {"event_ids": list(read)})}
    new = [one for one in sorted(authors) if (one, read[one].encoder) not in stored]
    versions = advance(connection, {authors[event_id] for event_id in new})
    if new:
        rows = [
            {
                "event_id": event_id,
                "encoder": read[event_id].encoder,
                "lean": read[event_id].lean,
                "vector": read[event_id].vector,
                "user_version": versions[authors[event_id]],
            }
            for event_id in new
        ]
        connection.execute(insert(readings), rows)
    return versions


def of_user(user_id: str) -> Delete:
    """Deletes the readings of a user's reviews, while the reviews are still there."""
    theirs = select(events.c.event_id).where(events.c.user_id == user_id)
    return delete(readings).where(readings.c.event_id.in_(theirs))


def of_event(event_id: str) -> Delete:
    """Deletes the readings of one review."""
    return delete(readings).where(readings.c.event_id == event_id)


def _authors(connection: Connection, event_ids: Collection[str]) -> list[tuple[str, str]]:
    found = connection.execute(_AUTHORS, {"event_ids": list(event_ids)})
    return [(event_id, user_id) for event_id, user_id in found]


def _hold(connection: Connection, users: Collection[str]) -> None:
    """Lock the users' rows in the order of their keys, as `advance` does."""
    keys = sorted(map(user_key, users))
    statement = select(user_versions.c.user_key).where(user_versions.c.user_key.in_(keys))
    connection.execute(statement.order_by(user_versions.c.user_key).with_for_update()).all()
