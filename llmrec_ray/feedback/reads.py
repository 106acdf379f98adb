"""What is read of events and user versions, as SELECTs: versions, histories, pages of a scan."""

from sqlalchemy import bindparam, select, true, tuple_

from llmrec_ray.feedback.tables import events, user_versions

AT_ONCE = 5_000

_COLUMNS = (
    events.c.event_id,
    events.c.user_id,
    events.c.item_id,
    events.c.type,
    events.c.value,
    events.c.text,
    events.c.time_us,
    events.c.recommendation_id,
)
VERSION = select(user_versions.c.version).where(user_versions.c.user_key == bindparam("key"))
_NEWEST = (
    select(*_COLUMNS)
    .where(events.c.user_id == bindparam("user_id"))
    .order_by(events.c.time_us.desc(), events.c.event_id.desc())
    .limit(bindparam("limit"))
)

_COUNTED = _NEWEST.subquery()
# One statement sees one snapshot: the version and the events that it counts.
HISTORY = (
    select(user_versions.c.version, _COUNTED)
    .select_from(user_versions.outerjoin(_COUNTED, true()))
    .where(user_versions.c.user_key == bindparam("key"))
    .order_by(_COUNTED.c.time_us.desc(), _COUNTED.c.event_id.desc())
)
HISTORY_AT = _NEWEST.where(events.c.user_version <= bindparam("at"))
EVENT = select(events.c.user_id, events.c.time_us, events.c.user_version).where(
    events.c.event_id == bindparam("event_id")
)
_PLACE = (events.c.user_id, events.c.time_us, events.c.event_id)
FIRST_PAGE = select(*_COLUMNS).order_by(*_PLACE).limit(AT_ONCE)
NEXT_PAGE = FIRST_PAGE.where(
    tuple_(*_PLACE) > tuple_(bindparam("user_id"), bindparam("time_us"), bindparam("event_id"))
)
