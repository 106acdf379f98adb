"""A database URL in, a SQLAlchemy engine with our transaction rules and our tables out.

SQLite (one host): write-ahead log, synced at every commit, and writers take the write lock when
they begin: one that begins as a reader and upgrades later fails at once when another was faster.
PostgreSQL: plain READ COMMITTED; `writes` orders what it touches, so no two block each other.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from llmrec_ray.errors import EventStoreUnavailable, InvalidSettings
from llmrec_ray.feedback.tables import SCHEMA_VERSION, metadata, schema_version
from llmrec_ray.feedback.upgrade import upgrade

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_EXAMPLES = (
    "Give event_store.url as sqlite:///var/events.db or postgresql+psycopg://user:password@host/db."
)
_READS = "llmrec_reads"
_SCHEMA_LOCK = 7_268_113_020  # any number, the same in every process: who holds it makes the tables

_TROUBLES = (
    ("authentication failed", "it refuses the user name or the password. Check both in the URL"),
    ("no password supplied", "it asks for a password. Add one to the URL"),
    ("does not exist", "the database or the role does not exist. Create it, or correct the URL"),
    ("permission denied", "the role may not use its tables. Grant it access"),
    ("is locked", "another process kept it locked. Try again; more than a host needs PostgreSQL"),
    ("unable to open", "the file cannot be opened. Check that the folder can be written"),
    ("readonly", "the file cannot be written. Check its permissions and its folder's"),
    ("read-only", "it is read-only. Point the URL at the primary server"),
    ("disk i/o error", "the disk fails. Check it, and that its file system is a local one"),
    ("is full", "the disk is full. Make room"),
    ("not a database", "the file is no SQLite database. Correct the path, or move the file away"),
    ("malformed", "the file is damaged. Restore a copy of it"),
    ("timeout", "it did not answer in time. Try again, and check its load"),
)
_UNREACHED = "it cannot be reached. Check that the server runs and that host and port are right"


def connect(url: str, timeout_s: float) -> Engine:
    """An engine for the URL, its tables in place.

    `InvalidSettings` for a URL that names no such store or tables of a newer release;
    `EventStoreUnavailable` where the database cannot be used.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite(parsed, timeout_s)
    else:
        engine = _postgresql(parsed, timeout_s)
    try:
        with translated(engine):
            _make_schema(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def reading(engine: Engine) -> Engine:
    """The same pool for single SELECTs: each sees one snapshot by itself and locks nothing."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_READS: True})
    return engine.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def translated(engine: Engine) -> Generator[None]:
    """Turn a driver's error into `EventStoreUnavailable`, which never shows a password."""
    try:
        yield
    except (DBAPIError, PoolTimeout, sqlite3.Error) as cause:
        said = str(cause).lower()
        trouble = next((words for sign, words in _TROUBLES if sign in said), _UNREACHED)
        raise EventStoreUnavailable(
            f"the event store {_shown(engine.url)} cannot be used: {trouble}."
        ) from cause


def check_schema(connection: Connection) -> None:
    """`InvalidSettings` where the tables are those of another release."""
    found = connection.execute(select(schema_version.c.version)).scalar_one()
    if found != SCHEMA_VERSION:
        raise InvalidSettings(
            f"the event store {_shown(connection.engine.url)} has tables of version {found}, and "
            f"this release reads version {SCHEMA_VERSION}. Use the release that wrote them, or "
            "point event_store.url at another database.",
            found=found,
            supported=SCHEMA_VERSION,
        )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise InvalidSettings(
            f"event_store.url is no database URL. {_EXAMPLES}", field="event_store.url"
        ) from None  # the cause may quote the password
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise InvalidSettings(
            f"event_store.url names a kind of database that is not known here, "
            f"{parsed.drivername}. {_EXAMPLES}",
            field="event_store.url",
        )
    if driver.startswith("sqlite") and parsed.database in {None, "", ":memory:"}:
        raise InvalidSettings(
            f"event_store.url names no file: events in memory would be lost. {_EXAMPLES}",
            field="event_store.url",
        )
    return parsed.set(drivername=driver)


def _sqlite(url: URL, timeout_s: float) -> Engine:
    assert url.database
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise EventStoreUnavailable(
            f"the folder of the event store {_shown(url)} cannot be made: {cause.strerror}. "
            "Choose another path, or make the folder and let this user write to it."
        ) from cause
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_timeout=timeout_s,
        connect_args={"timeout": timeout_s},
    )

    @event.listens_for(engine, "connect")
    def prepare(driver: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        driver.isolation_level = (
            None  # transactions begin where `begin` below says, not in the driver
        )
        driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("PRAGMA synchronous = FULL")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten in the file

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if _READS not in connection.get_execution_options():
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL, timeout_s: float) -> Engine:
    milliseconds = ceil(timeout_s * 1000)
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_timeout=timeout_s,
            pool_pre_ping=True,  # a restarted server costs no request
            connect_args={"connect_timeout": ceil(timeout_s), "tcp_user_timeout": milliseconds},
        )
    except (NoSuchModuleError, ModuleNotFoundError) as cause:
        raise InvalidSettings(
            "event_store.url needs the PostgreSQL driver: pip install 'psycopg[binary]'."
        ) from cause

    @event.listens_for(engine, "connect")
    def prepare(driver: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = driver.cursor()
        cursor.execute(f"SET statement_timeout = {milliseconds}")
        driver.commit()

    return engine


def _make_schema(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
        if not engine.dialect.has_table(connection, schema_version.name):
            metadata.create_all(connection)
            connection.execute(insert(schema_version).values(id=1, version=SCHEMA_VERSION))
        upgrade(connection)
        check_schema(connection)


def _shown(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)
