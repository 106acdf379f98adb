"""Tables of an earlier release in, today's tables out, in the transaction that looks at them."""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, literal, null, select, text, update
from sqlalchemy.schema import CreateColumn

from llmrec_ray.feedback.tables import (
    SCHEMA_VERSION,
    erased_recommendations,
    erasures,
    events,
    item_sequence,
    live_items,
    readings,
    recommendations,
    schema_version,
    user_versions,
)

_NEW_COLUMNS = (
    events.c.user_version,
    recommendations.c.question,
    recommendations.c.vector,
)


def upgrade(connection: Connection) -> None:
    """Bring tables of earlier versions to this release's; any other is left as it is."""
    found = connection.execute(select(schema_version.c.version).with_for_update()).scalar_one()
    steps = _STEPS.get(found, ())
    for step in steps:
        step(connection)
    if steps:
        connection.execute(update(schema_version).values(version=SCHEMA_VERSION))


def _replay_and_erasures(connection: Connection) -> None:
    """Version 1 to 2: what forgetting and replay need.

    Events of before have user version 0, which is in every history asked for by a later version;
    answers of before have no question, and cannot be replayed.
    """
    for column in _NEW_COLUMNS:
        added = CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {added}"))
    for table in (erasures, erased_recommendations):
        table.create(connection)
    # When a user was erased was not kept: at the latest now.
    before = select(user_versions.c.user_key, null(), literal(time.time_ns() // 1000)).where(
        user_versions.c.erased > 0
    )
    columns = ["user_key", "event_key", "erased_us"]
    connection.execute(insert(erasures).from_select(columns, before))


def _readings(connection: Connection) -> None:
    """Version 2 to 3: reviews of before are read when their users next ask for something."""
    readings.create(connection)


def _live_items(connection: Connection) -> None:
    """Version 3 to 4: the log of live items."""
    live_items.create(connection)
    item_sequence.create(connection)


_STEPS: Mapping[int, tuple[Callable[[Connection], None], ...]] = {
    1: (_replay_and_erasures, _readings, _live_items),
    2: (_readings, _live_items),
    3: (_live_items,),
}
"""What brings tables of a version to this release's, in order."""
