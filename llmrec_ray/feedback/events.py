"""Events and shown answers in, made durable in a database; histories and answers out."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import pyarrow as pa
from sqlalchemy import Connection, Engine, bindparam, delete, select, true, tuple_, update

from llmrec_ray.errors import NotFound
from llmrec_ray.feedback import codec, database
from llmrec_ray.feedback.answers import LIVE, PURGE, Shown, answer_row, insert_answers
from llmrec_ray.feedback.rows import (
    event_row,
    microseconds,
    row_event,
    storable,
    table_events,
    user_key,
)
from llmrec_ray.feedback.tables import events, recommendations, user_versions
from llmrec_ray.feedback.writes import advance, store
from llmrec_ray.ports import Accepted, Erasure, History, Imported
from llmrec_ray.types import Event, Recommendations

_AT_ONCE = 5_000

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
_VERSION = select(user_versions.c.version).where(user_versions.c.user_key == bindparam("key"))
_NEWEST = (
    select(*_COLUMNS)
    .where(events.c.user_id == bindparam("user_id"))
    .order_by(events.c.time_us.desc(), events.c.event_id.desc())
    .limit(bindparam("limit"))
    .subquery()
)
# One statement sees one snapshot: the version and the events that it counts.
_HISTORY = (
    select(user_versions.c.version, _NEWEST)
    .select_from(user_versions.outerjoin(_NEWEST, true()))
    .where(user_versions.c.user_key == bindparam("key"))
    .order_by(_NEWEST.c.time_us.desc(), _NEWEST.c.event_id.desc())
)
_PLACE = (events.c.user_id, events.c.time_us, events.c.event_id)
_FIRST_PAGE = select(*_COLUMNS).order_by(*_PLACE).limit(_AT_ONCE)
_NEXT_PAGE = _FIRST_PAGE.where(
    tuple_(*_PLACE) > tuple_(bindparam("user_id"), bindparam("time_us"), bindparam("event_id"))
)


def open_event_store(
    url: str,
    *,
    timeout_s: float,
    ttl_s: float,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> "SqlEventStore":
    """The store at a SQLAlchemy URL, SQLite or PostgreSQL, its tables made where they are missing.

    No call waits much longer than `timeout_s`; a shown recommendation is kept for `ttl_s`.
    Raises `InvalidSettings` for a URL that cannot be meant, `EventStoreUnavailable` where the
    database cannot be used.
    """
    return SqlEventStore(database.connect(url, timeout_s), ttl_s=ttl_s, clock=clock)


class SqlEventStore:
    """The event store on SQLAlchemy; safe to share between threads, never across a fork."""

    def __init__(self, engine: Engine, *, ttl_s: float, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._reader = database.reading(engine)
        self._ttl = timedelta(seconds=ttl_s)
        self._clock = clock

    def append(self, events: Sequence[Event]) -> Accepted:
        rows = [event_row(event) for event in events]
        if not rows:
            return Accepted(accepted=0, duplicates=0, user_versions={})
        with self._writing() as connection:
            return store(connection, rows)

    def import_events(self, table: pa.Table, progress: Callable[[int], None]) -> Imported:
        accepted = duplicates = 0
        for batch in table_events(table, _AT_ONCE):
            done = self.append(batch)
            accepted += done.accepted
            duplicates += done.duplicates
            progress(len(batch))
        return Imported(accepted, duplicates)

    def user_version(self, user_id: str) -> int:
        with self._reading() as connection:
            return connection.scalar(_VERSION, {"key": user_key(user_id)}) or 0

    def history(self, user_id: str, limit: int) -> History:
        names = {"key": user_key(user_id), "user_id": user_id, "limit": limit}
        with self._reading() as connection:
            rows = connection.execute(_HISTORY, names).mappings().all()
        return History(
            user_version=rows[0]["version"] if rows else 0,
            events=tuple(row_event(row) for row in rows if row["event_id"] is not None),
        )

    def scan(self) -> Iterator[Event]:
        """Page by page, a snapshot each: events that arrive meanwhile may be missed."""
        with self._reading() as connection:
            page = connection.execute(_FIRST_PAGE).mappings().all()
        while page:
            yield from map(row_event, page)
            with self._reading() as connection:
                page = connection.execute(_NEXT_PAGE, dict(page[-1])).mappings().all()

    def erase(self, user_id: str) -> Erasure:
        key = user_key(user_id)
        with self._writing() as connection:
            # First, so that no batch of this user commits between deletion and new version.
            version = advance(connection, [user_id])[user_id]
            mark = update(user_versions).where(user_versions.c.user_key == key)
            connection.execute(mark.values(erased=version))
            gone = connection.execute(delete(events).where(events.c.user_id == user_id))
            forgotten = connection.execute(
                delete(recommendations).where(recommendations.c.user_id == user_id)
            )
        self._overwrite_erased()
        return Erasure(gone.rowcount, forgotten.rowcount, version)

    def record(self, shown: Sequence[Shown]) -> None:
        now = self._clock()
        now_us, expires_us = microseconds(now), microseconds(now + self._ttl)
        rows = [answer_row(one, now_us, expires_us) for one in shown]
        with self._writing() as connection:
            insert_answers(connection, shown, rows)
            connection.execute(PURGE, {"now_us": now_us})

    def recommendation(self, recommendation_id: str) -> Recommendations:
        names = {"recommendation_id": recommendation_id, "now_us": microseconds(self._clock())}
        if storable(recommendation_id):
            with self._reading() as connection:
                if (answer := connection.scalar(LIVE, names)) is not None:
                    return codec.decode(answer)
        raise NotFound(
            "no such recommendation is stored: it was never made, it expired, or its user was "
            "erased. Ask for a new one."
        )

    def check(self) -> None:
        with self._reading() as connection:
            database.check_schema(connection)

    def close(self) -> None:
        """Give every connection back; the store cannot be used afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        with database.translated(self._engine), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        with database.translated(self._engine), self._reader.connect() as connection:
            yield connection

    def _overwrite_erased(self) -> None:
        """SQLite keeps the old pages in its file until the log is copied over them."""
        if self._engine.dialect.name == "sqlite":
            with self._reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
