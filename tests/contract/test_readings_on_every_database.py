"""What was read in reviews: kept once an encoder, by user version, and erased with its event."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.types import Event, Reading

THEN = datetime(2026, 1, 1, tzinfo=UTC)
FINE = Reading("e5", 0.1 + 0.2, bytes(range(256)) * 6)
OTHER = Reading("mini", -1.0, b"")


@pytest.fixture
def store(event_store_url: str) -> Iterator[SqlEventStore]:
    with opened(event_store_url) as events:
        yield events


def opened(url: str) -> SqlEventStore:
    return open_event_store(url, timeout_s=30, ttl_s=3600)


def review(event_id: str, user_id: str = "ada") -> Event:
    return Event(event_id, user_id, "f1", "review", THEN, text="Fine.")


def engine_of(url: str) -> Engine:
    parsed = make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    return create_engine(parsed.set(drivername="sqlite" if sqlite else "postgresql+psycopg"))


def rows(url: str) -> int:
    engine = engine_of(url)
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT count(*) FROM readings"))
    engine.dispose()
    return int(found or 0)


def test_a_reading_comes_back_bit_for_bit_and_moves_its_user_on(store: SqlEventStore) -> None:
    store.append([review("1"), review("2", "bob")])
    assert store.keep_readings({"1": FINE}) == {"ada": 2}
    assert store.readings(["1", "2"], "e5", 2) == {"1": FINE}
    assert (store.user_version("ada"), store.user_version("bob")) == (2, 1)


def test_a_reading_is_not_in_an_earlier_version(store: SqlEventStore) -> None:
    store.append([review("1")])
    store.keep_readings({"1": FINE})
    assert store.readings(["1"], "e5", 1) == {}


def test_every_encoder_has_its_own_and_each_is_kept_once(store: SqlEventStore) -> None:
    store.append([review("1")])
    assert store.keep_readings({"1": FINE}) == {"ada": 2}
    assert store.keep_readings({"1": OTHER}) == {"ada": 3}
    assert store.keep_readings({"1": Reading("e5", 0.0, b"later")}) == {}
    assert store.readings(["1"], "e5", 9) == {"1": FINE}
    assert store.readings(["1"], "mini", 9) == {"1": OTHER}
    assert store.user_version("ada") == 3


def test_what_is_not_stored_has_no_reading(store: SqlEventStore) -> None:
    assert store.keep_readings({}) == {}
    assert store.keep_readings({"never": FINE}) == {}
    assert store.readings([], "e5", 9) == store.readings(["never"], "e5", 9) == {}


def test_an_erasure_takes_the_readings_and_lets_none_come_back(
    store: SqlEventStore, event_store_url: str
) -> None:
    store.append([review("1"), review("2"), review("3", "bob")])
    store.keep_readings({"1": FINE, "2": FINE, "3": FINE})
    store.erase_event("1")
    assert rows(event_store_url) == 2
    store.erase("ada")
    assert rows(event_store_url) == 1
    assert store.keep_readings({"1": FINE, "2": FINE}) == {}
    assert store.readings(["1", "2", "3"], "e5", 99) == {"3": FINE}


def test_replicas_that_read_the_same_reviews_and_an_erasure_end_in_one_state(
    store: SqlEventStore, event_store_url: str
) -> None:
    ids = [f"{n:02}" for n in range(20)]
    users = {one: f"u{int(one) % 4}" for one in ids}
    store.append([review(one, users[one]) for one in ids])
    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(store.keep_readings, dict.fromkeys(ids, FINE)) for _ in range(4)]
        erasers = [pool.submit(store.erase, "u1"), pool.submit(store.erase_event, "02")]
        for done in (*readers, *erasers):
            done.result()
    left = {one for one in ids if users[one] != "u1" and one != "02"}
    assert set(store.readings(ids, "e5", 10**6)) == left
    assert rows(event_store_url) == len(left)


def test_tables_of_version_2_are_upgraded_and_keep_their_rows(event_store_url: str) -> None:
    with opened(event_store_url) as store:
        store.append([review("1")])
    engine = engine_of(event_store_url)
    with engine.begin() as connection:
        for table in ("readings", "live_items", "item_sequence"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE schema_version SET version = 2"))
    engine.dispose()
    with opened(event_store_url) as store:
        store.check()
        assert [one.event_id for one in store.history("ada", 9).events] == ["1"]
        assert store.keep_readings({"1": FINE}) == {"ada": 2}
