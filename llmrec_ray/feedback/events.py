"""Events and shown answers in, made durable in a database; histories and answers out."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from sqlalchemy import (
    Connection,
    Engine,
    RowMapping,
    delete,
    func,
    select,
    update,
)

from llmrec_ray.errors import Erased, EventStoreUnavailable, NotFound
from llmrec_ray.feedback import database, forgotten, readings
from llmrec_ray.feedback.answers import (
    LIVE,
    PURGE,
    WAS_ERASED,
    answer_row,
    insert_answers,
    shown_of,
)
from llmrec_ray.feedback.items import SqlItemLog
from llmrec_ray.feedback.reads import (
    AT_ONCE,
    EVENT,
    FIRST_PAGE,
    HISTORY,
    HISTORY_AT,
    NEXT_PAGE,
    VERSION,
)
from llmrec_ray.feedback.rows import (
    event_row,
    microseconds,
    row_event,
    storable,
    table_events,
    user_key,
)
from llmrec_ray.feedback.tables import events, user_versions
from llmrec_ray.feedback.writes import advance, store
from llmrec_ray.ports import Accepted, ErasedKey, Erasure, History, Imported
from llmrec_ray.types import Event, Reading, Recommendations, Shown


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
        self.items = SqlItemLog(engine)

    def append(self, events: Sequence[Event]) -> Accepted:
        if not (rows := [event_row(event) for event in events]):
            return Accepted(accepted=0, duplicates=0, user_versions={})
        with self._writing() as connection:
            return store(connection, rows)

    def import_events(self, table: pa.Table, progress: Callable[[int], None]) -> Imported:
        accepted = duplicates = erased = 0
        for batch in table_events(table, AT_ONCE):
            rows = [event_row(event) for event in batch]
            with self._writing() as connection:
                gone = forgotten.forgotten(connection, rows, users_too=True)
                kept = [row for row in rows if row["event_id"] not in gone]
                done = store(connection, kept, imported=True)
            accepted += done.accepted
            duplicates += done.duplicates
            erased += len(rows) - len(kept)
            progress(len(batch))
        return Imported(accepted, duplicates, erased)

    def user_version(self, user_id: str) -> int:
        with self._reading() as connection:
            return connection.scalar(VERSION, {"key": user_key(user_id)}) or 0

    def history(self, user_id: str, limit: int, at: int | None = None) -> History:
        names = {"key": user_key(user_id), "user_id": user_id, "limit": limit}
        if at is not None:
            return self._history_at(names | {"at": at}, at)
        with self._reading() as connection:
            rows = connection.execute(HISTORY, names).mappings().all()
        return History(
            user_version=rows[0]["version"] if rows else 0,
            events=tuple(row_event(row) for row in rows if row["event_id"] is not None),
        )

    def keep_readings(self, read: Mapping[str, Reading]) -> dict[str, int]:
        if not read:
            return {}
        with self._writing() as connection:
            return readings.keep(connection, read)

    def readings(self, event_ids: Sequence[str], encoder: str, at: int) -> dict[str, Reading]:
        if not event_ids:
            return {}
        with self._reading() as connection:
            return readings.known(connection, event_ids, encoder, at)

    def scan(self) -> Iterator[Event]:
        """Page by page, a snapshot each: events that arrive meanwhile may be missed."""
        with self._reading() as connection:
            page = connection.execute(FIRST_PAGE).mappings().all()
        while page:
            yield from map(row_event, page)
            with self._reading() as connection:
                page = connection.execute(NEXT_PAGE, dict(page[-1])).mappings().all()

    def erase(self, user_id: str) -> Erasure:
        theirs = events.c.user_id == user_id
        with self._writing() as connection:
            # First, so that no batch of this user commits between deletion and new version.
            version = self._next_version(connection, user_id)
            first = connection.scalar(select(func.min(events.c.time_us)).where(theirs))
            connection.execute(readings.of_user(user_id))
            gone = connection.execute(delete(events).where(theirs)).rowcount
            buried = forgotten.bury(connection, user_id, 0)
            now_us = microseconds(self._clock())
            spans = forgotten.note(connection, user_id, None, first_us=first, now_us=now_us)
        self._overwrite_erased()
        return Erasure(gone, buried, version, spans)

    def erase_event(self, event_id: str) -> Erasure:
        with self._writing() as connection:
            event = self._event(connection, event_id)
            version = self._next_version(connection, event["user_id"])
            chosen = delete(events).where(events.c.event_id == event_id)
            if not connection.execute(chosen).rowcount:  # another erasure came first
                raise _no_event(event_id)
            connection.execute(readings.of_event(event_id))
            buried = forgotten.bury(connection, event["user_id"], event["user_version"])
            first, now_us = event["time_us"], microseconds(self._clock())
            spans = forgotten.note(
                connection, event["user_id"], event_id, first_us=first, now_us=now_us
            )
        self._overwrite_erased()
        return Erasure(1, buried, version, spans)

    def erasures(self, after: int) -> list[ErasedKey]:
        with self._reading() as connection:
            return forgotten.since(connection, after)

    def record(self, shown: Sequence[Shown]) -> None:
        now = self._clock()
        now_us, expires_us = microseconds(now), microseconds(now + self._ttl)
        rows = [answer_row(one, now_us, expires_us) for one in shown]
        with self._writing() as connection:
            insert_answers(connection, shown, rows)
            connection.execute(PURGE, {"now_us": now_us})
            connection.execute(forgotten.PURGE_TOMBSTONES, {"now_us": now_us})

    def recommendation(self, recommendation_id: str) -> Recommendations:
        return self.shown(recommendation_id).answer

    def shown(self, recommendation_id: str) -> Shown:
        name = {"recommendation_id": recommendation_id}
        names = name | {"now_us": microseconds(self._clock())}
        if storable(recommendation_id):
            with self._reading() as connection:
                row = connection.execute(LIVE, names).mappings().one_or_none()
                erased = row is None and connection.scalar(WAS_ERASED, name) is not None
            if row is not None:
                return shown_of(row)
            if erased:
                raise Erased(
                    "this recommendation was erased: its user was forgotten, or an event that it "
                    "may have been computed from. Ask for a new one."
                )
        raise NotFound(
            "no such recommendation is stored: it was never made, or it expired. Ask for a new one."
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

    def _history_at(self, names: dict[str, Any], at: int) -> History:
        """Version 0 has no events, whatever an earlier release left without a version."""
        if at == 0:
            return History(0, ())
        with self._reading() as connection:
            rows = connection.execute(HISTORY_AT, names).mappings().all()
        return History(at, tuple(map(row_event, rows)))

    def _event(self, connection: Connection, event_id: str) -> RowMapping:
        if storable(event_id):
            found = connection.execute(EVENT, {"event_id": event_id}).mappings().one_or_none()
            if found is not None:
                return found
        raise _no_event(event_id)

    def _next_version(self, connection: Connection, user_id: str) -> int:
        """Advance, and let no answer be recorded any more that an older version gave."""
        version = advance(connection, [user_id])[user_id]
        mark = update(user_versions).where(user_versions.c.user_key == user_key(user_id))
        connection.execute(mark.values(erased=version))
        return version

    def _overwrite_erased(self) -> None:
        """SQLite keeps the old pages in its file until the log is copied over them."""
        if self._engine.dialect.name != "sqlite":
            return
        with self._reading() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
        if busy:
            raise EventStoreUnavailable(
                "it is erased, but another process still reads the log that holds the old pages. "
                "Ask for the erasure again: then the log is emptied."
            )


def _no_event(event_id: str) -> NotFound:
    shown = event_id.encode(errors="replace").decode()
    return NotFound(
        f"no event {shown!r} is stored: it never was, or it is erased already.", event_id=shown
    )
