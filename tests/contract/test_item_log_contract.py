"""What the item log promises: on SQLite and on a real PostgreSQL server."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from llmrec_ray.errors import Corrupt, EventStoreUnavailable, InvalidInput, VersionConflict
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.late_items import LateItemLog
from llmrec_ray.items.log import ItemChange, ItemLog, ItemWrite, read_since, read_whole
from llmrec_ray.types import Item

VECTOR = np.array([0.6, 0.8], np.float32).tobytes()


@pytest.fixture
def log(event_store_url: str) -> Iterator[ItemLog]:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=3600) as opened:
        yield opened.items


def put(item_id: str, title: str = "Heat", expected: int | None = None) -> ItemWrite:
    item = Item(item_id, title, {"genres": ("crime", "七人"), "year": 1995.0, "plot": "Déjà vu."})
    return ItemWrite(item_id, item, VECTOR, "encoder-1", expected)


def gone(item_id: str, expected: int | None = None) -> ItemWrite:
    return ItemWrite(item_id, None, expected=expected)


def test_an_item_comes_back_as_it_was_written(log: ItemLog) -> None:
    (written,) = log.write([put("a")])
    (change,) = log.since(0)
    assert (change.seq, change.item_id, change.version) == (written.seq, "a", 1)
    assert (change.item, change.vector, change.encoder) == (put("a").item, VECTOR, "encoder-1")
    assert log.current(["a", "b"]) == {"a": change}


def test_the_same_again_changes_nothing(log: ItemLog) -> None:
    first = log.write([put("a"), gone("b")])
    again = log.write([put("a"), gone("b")])
    assert [one.outcome for one in first] == ["stored", "deleted"]
    assert [one.outcome for one in again] == ["unchanged", "unchanged"]
    assert [(one.seq, one.version) for one in again] == [(one.seq, one.version) for one in first]


def test_every_change_moves_the_item_to_the_end_of_the_log(log: ItemLog) -> None:
    log.write([put("a"), put("b")])
    log.write([put("a", "Ronin")])
    assert [(one.item_id, one.version) for one in log.since(0)] == [("b", 1), ("a", 2)]
    assert [one.item_id for one in log.since(2)] == ["a"]
    assert log.since(3) == []


def test_a_deleted_item_stays_in_the_log_as_deleted_and_its_versions_go_on(log: ItemLog) -> None:
    log.write([put("a")])
    log.write([gone("a")])
    (change,) = log.since(1)
    assert (change.item, change.version) == (None, 2)
    assert log.write([put("a")])[0].version == 3


def test_another_version_than_expected_stores_nothing_of_the_batch(log: ItemLog) -> None:
    log.write([put("a")])
    with pytest.raises(VersionConflict, match="version 1, not 0"):
        log.write([put("b"), put("a", "Ronin", expected=0)])
    assert log.current(["a", "b"]).keys() == {"a"}
    assert log.write([put("a", "Ronin", expected=1), put("b", expected=0)])[0].version == 2


def test_the_version_of_a_deletion_is_of_no_item_to_change(log: ItemLog) -> None:
    log.write([put("a")])
    log.write([gone("a")])
    with pytest.raises(VersionConflict, match="deleted"):
        log.write([put("a", "Ronin", expected=2)])
    assert log.write([put("a", "Ronin")])[0].version == 3


def test_an_id_that_occurs_twice_in_a_batch_is_refused(log: ItemLog) -> None:
    with pytest.raises(InvalidInput, match="'a' occurs 2 times"):
        log.write([put("a"), put("a", "Ronin")])
    assert log.since(0) == []


@pytest.mark.parametrize("bad", ["nul\0", "\ud800"])
def test_a_text_that_no_database_holds_is_refused(log: ItemLog, bad: str) -> None:
    with pytest.raises(InvalidInput, match="Unicode"):
        log.write([put("a", bad)])
    with pytest.raises(InvalidInput, match="Unicode"):
        log.write([gone(bad)])
    assert log.current([bad]) == {}


def test_places_start_above_what_a_generation_holds_already(log: ItemLog) -> None:
    assert log.write([put("a")], above=100)[0].seq == 101
    assert log.write([put("b")], above=7)[0].seq == 102


def test_a_reader_reads_on_over_many_pages(log: ItemLog) -> None:
    log.write([put(f"i{number}") for number in range(2_500)])
    found, position = read_since(log, 0)
    assert (len(found), position) == (2_500, 2_500)
    assert read_since(log, position) == ({}, position)
    odd, _ = read_since(log, 0, lambda item_id: item_id.endswith("1"))
    assert len(odd) == 250


def test_a_tailing_reader_misses_no_change_of_eight_writers(event_store_url: str) -> None:
    """Whatever order the transactions commit in, no place appears below one that was read."""
    done = threading.Event()

    def write(writer: int) -> None:
        with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
            for number in range(25):
                store.items.write([put(f"{writer}-{number}"), put(f"{writer}-{number}-b")])

    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        seen: list[str] = []

        def tail() -> None:
            position = 0
            while True:
                last = done.is_set()
                found, position = read_since(store.items, position)
                seen.extend(found)
                if last and not found:
                    return

        with ThreadPoolExecutor(9) as pool:
            tailing = pool.submit(tail)
            for writing in [pool.submit(write, writer) for writer in range(8)]:
                writing.result()
            done.set()
            tailing.result()
        places = [change.seq for change in store.items.since(0)]
    assert len(seen) == len(set(seen)) == 400
    assert places == list(range(1, 401))


def test_of_two_writers_of_one_version_one_wins(event_store_url: str) -> None:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        store.items.write([put("a")])

        def change(number: int) -> bool:
            try:
                store.items.write([put("a", f"Film {number}", expected=1)])
            except VersionConflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(change, range(4))) == [False, False, False, True]
        assert store.items.current(["a"])["a"].version == 2


def test_tables_of_the_release_before_get_a_log(event_store_url: str) -> None:
    open_event_store(event_store_url, timeout_s=30, ttl_s=60).close()
    engine = create_engine(event_store_url)
    with engine.begin() as connection:
        for table in ("live_items", "item_sequence"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE schema_version SET version = 3"))
    engine.dispose()
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        store.check()
        assert store.items.write([put("a")])[0].seq == 1


def damage(event_store_url: str, fields: str) -> None:
    """What something else than a release might leave of item a."""
    engine = create_engine(event_store_url)
    with engine.begin() as connection:
        statement = text("UPDATE live_items SET fields = :fields WHERE item_id = 'a'")
        connection.execute(statement, {"fields": fields})
    engine.dispose()


@pytest.mark.parametrize("fields", ["{", "[]", '{"year": null}', '{"genres": [1]}'])
def test_an_item_that_cannot_be_read_has_its_version_and_nothing_else(
    event_store_url: str, fields: str
) -> None:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        store.items.write([put("a"), put("b")])
        damage(event_store_url, fields)
        unreadable, other = store.items.since(0)
        assert unreadable == ItemChange(1, "a", 1, None, readable=False)
        assert store.items.current(["a", "b"]) == {"a": unreadable, "b": other}
        with pytest.raises(Corrupt, match=r"'a' for one.*Put them again, or delete them"):
            read_whole(store.items, 0)
        assert store.items.write([put("a", expected=1)])[0].version == 2
        assert read_whole(store.items, 0)[0]["a"].item == put("a").item


def test_an_item_that_cannot_be_read_can_be_deleted(event_store_url: str) -> None:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        store.items.write([put("a")])
        damage(event_store_url, "{")
        assert store.items.write([gone("a")])[0].outcome == "deleted"
        assert read_whole(store.items, 0)[0]["a"] == ItemChange(2, "a", 2, None)


def test_a_log_that_could_not_be_opened_is_opened_when_it_can(event_store_url: str) -> None:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        ready: list[ItemLog] = []

        def opened() -> ItemLog:
            if not ready:
                raise EventStoreUnavailable("the database is away")
            return ready[0]

        late = LateItemLog(opened)
        with pytest.raises(EventStoreUnavailable):
            late.since(0)
        ready.append(store.items)
        late.write([put("a")])
        assert late.current(["a"]).keys() == {change.item_id for change in late.since(0)} == {"a"}
