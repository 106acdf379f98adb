"""The tables of the event store, as SQLAlchemy Core definitions for SQLite and PostgreSQL.

    events            what users did; an event id is stored once
    user_versions     one counter a user, which outlives the user's events; keyed by a digest,
                      so that a forgotten user's id can be read nowhere
    recommendations   what was shown, what was asked for it, and the vector of its text (float32
                      bytes), until it expires
    erasures          one row an erasure: digests alone, so that replicas, exports and imports can
                      follow it without the id
    erased_recommendations   ids of answers that an erasure took away, until they had expired
    readings          what an encoder read in a review's text: its vector (float32 bytes), its lean;
                      kept for each encoder, and erased with the event
    live_items        the newest state of every item that was changed live, by its place (seq) in
                      one order of changes; fields as JSON, the text vector as float32 bytes
    item_sequence     one row: the last place given out, which writers of items lock
    schema_version    one row: which release's tables these are

Times are microseconds since 1970 UTC, exact and ordered alike on both databases.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

SCHEMA_VERSION = 4

metadata = MetaData()

# Byte order, as Python sorts strings: the order of a scan must not depend on a server's locale.
_Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite counts by itself in INTEGER primary keys alone.
_Counter = BigInteger().with_variant(Integer(), "sqlite")

events = Table(
    "events",
    metadata,
    Column("received", _Counter, primary_key=True, autoincrement=True),
    Column("event_id", _Key, nullable=False, unique=True),
    Column("user_id", _Key, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("value", Double),
    Column("text", Text),
    Column("time_us", BigInteger, nullable=False),
    Column("recommendation_id", Text),
    Column("body", LargeBinary, nullable=False),
    # The version that this event's batch made; 0 for events of before this was kept.
    Column("user_version", BigInteger, nullable=False, server_default="0"),
    Index("events_of_user", "user_id", "time_us", "event_id"),
    sqlite_autoincrement=True,  # an erased event's number is never given out again
)

user_versions = Table(
    "user_versions",
    metadata,
    Column("user_key", LargeBinary, primary_key=True),
    Column("version", BigInteger, nullable=False),
    # The version that forgetting the user last made: an answer computed before it is not recorded.
    Column("erased", BigInteger, nullable=False),
)

recommendations = Table(
    "recommendations",
    metadata,
    Column("recommendation_id", _Key, primary_key=True),
    Column("user_id", Text),
    Column("generation", Text, nullable=False),
    Column("user_version", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),
    Column("question", Text),
    Column("vector", LargeBinary),
    Index("recommendations_of_user", "user_id"),
    Index("recommendations_by_expiry", "expires_us"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("number", _Counter, primary_key=True, autoincrement=True),
    Column("user_key", LargeBinary, nullable=False),
    Column("event_key", LargeBinary),  # NULL: the whole user
    Column("first_us", BigInteger),  # the time of the oldest event that went; NULL: none did
    Column("erased_us", BigInteger, nullable=False),
    Index("erasures_of_user", "user_key"),
    Index("erasures_of_event", "event_key"),
    sqlite_autoincrement=True,
)

erased_recommendations = Table(
    "erased_recommendations",
    metadata,
    Column("recommendation_id", _Key, primary_key=True),
    Column("expires_us", BigInteger, nullable=False),
    Index("erased_recommendations_by_expiry", "expires_us"),
)

readings = Table(
    "readings",
    metadata,
    Column("event_id", _Key, primary_key=True),
    Column("encoder", _Key, primary_key=True),
    Column("lean", Double, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    # The version that storing it made: a replay at an earlier one does without.
    Column("user_version", BigInteger, nullable=False),
)

live_items = Table(
    "live_items",
    metadata,
    Column("item_id", _Key, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("version", BigInteger, nullable=False),
    Column("title", Text),  # NULL: the item is deleted
    Column("fields", Text),
    Column("vector", LargeBinary),
    Column("encoder", Text),
)

item_sequence = Table(
    "item_sequence",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
