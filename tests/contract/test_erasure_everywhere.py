"""After an erasure the id is in no byte of any store: every pair of object store and database."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import MetaData, create_engine, make_url, select

from llmrec_ray.errors import Erased
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.feedback.exports import export_events, rewrite
from llmrec_ray.generation.publish import publish
from llmrec_ray.online.forgetting import forget_event, forget_user
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import EVENTS_SCHEMA
from llmrec_ray.types import (
    Coverage,
    Event,
    EventShare,
    Evidence,
    Question,
    Reading,
    Recommendations,
    Recommended,
    RecommendRequest,
    Shown,
)
from tests.support.generations import draft

ADA = "ada-lovelace-1815"
EVENT = "the-one-event-that-goes"
THEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(event_store_url: str) -> Iterator[SqlEventStore]:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=3600) as opened:
        yield opened


def like(event_id: str, user_id: str) -> Event:
    return Event(event_id, user_id, "f1", "review", THEN, text=f"said {user_id} of {event_id}")


def shown(name: str, user_id: str, event_id: str, version: int = 1) -> Shown:
    shares = (EventShare(event_id, "f1", "Film f1", "like", 0.5),)
    items = (Recommended("f2", "Film f2", 0.5, 1, Evidence(shares, 0.0)),)
    answer = Recommendations(name, "g1", version, items, Coverage(1, 1))
    request = RecommendRequest(user_id=user_id, text=f"what {user_id} likes")
    return Shown(user_id, answer, Question(request, 500, b"\0" * 16))


def everything(objects: ObjectStore, url: str, folder: Path) -> bytes:
    """Every byte that is stored; compressed objects also as what they hold."""
    parts: list[bytes] = []
    for key in objects.list(""):
        parts += [key.encode(), data := objects.get(key)]
        if key.endswith(".parquet"):
            parts.append(str(pq.read_table(io.BytesIO(data)).to_pylist()).encode())
    if make_url(url).get_backend_name() == "sqlite":
        parts += [file.read_bytes() for file in folder.glob("events.db*")]
    engine = create_engine(make_url(url).set(drivername=_driver(url)))
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            parts += [str(tuple(row)).encode() for row in connection.execute(select(table))]
    engine.dispose()
    return b"\n".join(parts)


def _driver(url: str) -> str:
    sqlite = make_url(url).get_backend_name() == "sqlite"
    return "sqlite" if sqlite else "postgresql+psycopg"


def fill(store: SqlEventStore, objects: ObjectStore) -> None:
    publish(objects, draft(10))
    store.append([like(f"{ADA}-{n}", ADA) for n in range(50)] + [like("bobs", "bob")])
    store.append([like(EVENT, "bob")])
    store.record([shown("r1", ADA, f"{ADA}-1"), shown("r2", "bob", "bobs")])
    store.record([shown("r3", "bob", EVENT, version=2)])
    store.keep_readings({one: Reading("e5", 1.0, one.encode()) for one in (f"{ADA}-1", EVENT)})
    export_events(objects, store, "one")
    export_events(objects, store, "two")


def test_an_erased_user_is_in_no_byte_of_any_store(
    object_store: ObjectStore, store: SqlEventStore, event_store_url: str, tmp_path: Path
) -> None:
    fill(store, object_store)
    assert ADA.encode() in everything(object_store, event_store_url, tmp_path)
    receipt = forget_user(store, object_store, ADA)
    assert (receipt.events, receipt.recommendations, receipt.exports) == (50, 1, 2)
    assert len(receipt.trained_with) == 1  # the draft says that it was trained until January 2
    left = everything(object_store, event_store_url, tmp_path)
    assert ADA.encode() not in left
    assert b"bobs" in left
    with pytest.raises(Erased):
        store.shown("r1")


def test_an_erased_event_is_in_no_byte_of_any_store(
    object_store: ObjectStore, store: SqlEventStore, event_store_url: str, tmp_path: Path
) -> None:
    fill(store, object_store)
    receipt = forget_event(store, object_store, EVENT)
    assert (receipt.events, receipt.recommendations, receipt.exports) == (1, 1, 2)
    left = everything(object_store, event_store_url, tmp_path)
    assert EVENT.encode() not in left
    assert ADA.encode() in left
    assert store.shown("r2") == shown("r2", "bob", "bobs")
    with pytest.raises(Erased):
        store.shown("r3")


class Interrupted(SqlEventStore):
    """A store in which a user is erased while an export reads it."""

    objects: ObjectStore

    def scan(self) -> Iterator[Event]:
        yield from list(super().scan())
        forget_user(self, self.objects, ADA)


def test_an_erasure_while_an_export_is_written_holds_in_the_export(
    object_store: ObjectStore, store: SqlEventStore
) -> None:
    fill(store, object_store)
    interrupted = Interrupted(store._engine, ttl_s=60, clock=lambda: datetime.now(UTC))
    interrupted.objects = object_store
    made = export_events(object_store, interrupted, "three")
    assert made.events == 2
    assert rewrite(object_store, lambda table: table["user_id"].to_numpy() == ADA) == 0


def test_a_file_that_is_imported_again_does_not_bring_the_erased_back(
    object_store: ObjectStore, store: SqlEventStore
) -> None:
    fill(store, object_store)
    export = object_store.get(object_store.list("exports/one/")[0])
    table = pq.read_table(io.BytesIO(export)).cast(EVENTS_SCHEMA)
    forget_user(store, object_store, ADA)
    forget_event(store, object_store, EVENT)
    again = store.import_events(table, lambda _: None)
    assert (again.accepted, again.duplicates, again.erased) == (0, 1, 51)
    assert store.append([like("anew", ADA)]).accepted == 1
