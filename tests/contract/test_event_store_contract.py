"""What every event store promises: on SQLite and on a real PostgreSQL server."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from llmrec_ray.errors import EventConflict, InvalidInput, NotFound
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.ports import Accepted, Erasure, EventStore, History, Imported, Span
from llmrec_ray.schemas import EVENTS_SCHEMA
from llmrec_ray.types import (
    Coverage,
    Event,
    EventShare,
    Evidence,
    Recommendations,
    Recommended,
    Shown,
)
from tests.support.event_writer import USERS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(event_store_url: str, clock: Clock) -> Iterator[EventStore]:
    with open_event_store(event_store_url, timeout_s=30, ttl_s=3600, clock=clock) as opened:
        yield opened


def event(event_id: str = "e1", user_id: str = "ada", minute: int = 0, **other: Any) -> Event:
    time = NOON + timedelta(minutes=minute)
    plain = Event(event_id=event_id, user_id=user_id, item_id="i1", type="click", time=time)
    return replace(plain, **other)


def answer(recommendation_id: str = "r1", user_version: int | None = 1) -> Recommendations:
    shares = (EventShare("e1", "i1", "Déjà vu", "rating", 0.1 + 0.2, 4.5),)
    first = Recommended("i2", "七人の侍", 1 / 3, 1, Evidence(shares, prior=1e-17))
    return Recommendations(
        recommendation_id, "g1", user_version, (first,), Coverage(1, 2), ("search",)
    )


def table(rows: list[Event]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in EVENTS_SCHEMA.names}
    return pa.table(columns, schema=EVENTS_SCHEMA)


def ignore(_: int) -> None:
    """Nobody watches the progress."""


# ── append and read ──────────────────────────────────────────────────────────────────────────────


def test_an_appended_event_comes_back_unchanged(store: EventStore):
    written = event(
        event_id="événement-1",
        user_id="用户",
        type="review",
        value=0.1 + 0.2,
        text="Überraschend gut 🎬\nzweimal gesehen",
        time=datetime(2026, 3, 1, 9, 30, 0, 123456, timezone(timedelta(hours=-3))),
        recommendation_id="r1",
    )
    store.append([written])
    assert store.history("用户", 10) == History(1, (written,))
    assert store.history("用户", 10).events[0].time.tzinfo == UTC


def test_a_user_never_seen_has_version_0_and_no_history(store: EventStore):
    assert store.user_version("nobody") == 0
    assert store.history("nobody", 10) == History(0, ())


def test_an_empty_batch_changes_nothing(store: EventStore):
    assert store.append([]) == Accepted(0, 0, {})


def test_history_is_newest_first_and_ties_go_by_event_id(store: EventStore):
    store.append([event("b", minute=1), event("Z", minute=1), event("a", minute=2), event("c")])
    store.append([event("other", user_id="bob", minute=9)])
    assert [one.event_id for one in store.history("ada", 10).events] == ["a", "b", "Z", "c"]
    assert [one.event_id for one in store.history("ada", 2).events] == ["a", "b"]


def test_a_history_is_read_as_it_was_at_a_version(store: EventStore):
    store.append([event("1"), event("2", minute=5), event("other", user_id="bob")])
    store.append([event("3", minute=3)])
    store.append([event("4", minute=9)])
    read = {at: store.history("ada", 2, at) for at in range(4)}
    assert {at: [one.event_id for one in then.events] for at, then in read.items()} == {
        0: [],
        1: ["2", "1"],
        2: ["2", "3"],
        3: ["4", "2"],
    }
    assert [then.user_version for then in read.values()] == [0, 1, 2, 3]
    assert read[3] == store.history("ada", 2)


def test_a_batch_moves_each_of_its_users_by_one_version(store: EventStore):
    first = store.append([event("1"), event("2"), event("3", user_id="bob")])
    second = store.append([event("4")])
    assert first == Accepted(3, 0, {"ada": 1, "bob": 1})
    assert second == Accepted(1, 0, {"ada": 2})
    assert (store.user_version("ada"), store.user_version("bob")) == (2, 1)


# ── the same event id ────────────────────────────────────────────────────────────────────────────


def test_the_same_event_again_is_a_duplicate_and_moves_no_version(store: EventStore):
    store.append([event("1")])
    again = store.append([event("1"), event("2", user_id="bob"), event("2", user_id="bob")])
    assert again == Accepted(accepted=1, duplicates=2, user_versions={"ada": 1, "bob": 1})
    assert store.append([event("1")]) == Accepted(0, 1, {"ada": 1})


def test_the_same_instant_in_another_time_zone_is_the_same_event(store: EventStore):
    store.append([event("1")])
    elsewhere = NOON.astimezone(timezone(timedelta(hours=9)))
    assert store.append([event("1", time=elsewhere)]).duplicates == 1


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "bob"},
        {"item_id": "i2"},
        {"type": "view"},
        {"value": 1.0},
        {"text": "words"},
        {"time": NOON + timedelta(microseconds=1)},
        {"recommendation_id": "r1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_id_with_another_body_is_a_conflict_and_stores_nothing(
    store: EventStore, change: dict[str, Any]
):
    store.append([event("1")])
    with pytest.raises(EventConflict) as caught:
        store.append([event("2"), event("1", **change), event("3", user_id="cleo")])
    assert caught.value.details == {"event_id": "1"}
    assert store.history("ada", 10) == History(1, (event("1"),))
    assert store.user_version("cleo") == 0


def test_two_bodies_for_one_id_in_a_batch_are_a_conflict(store: EventStore):
    with pytest.raises(EventConflict, match="event id 1 "):
        store.append([event("1"), event("1", value=2.0)])
    assert store.user_version("ada") == 0


# ── events that cannot be used ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time": datetime(2026, 3, 1, 12)}, "time"),  # noqa: DTZ001
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"type": "stare"}, "type"),
        ({"text": "a\0b"}, "text"),
        ({"item_id": "\ud800"}, "text"),
    ],
)
def test_an_unusable_event_is_refused_by_name(
    store: EventStore, change: dict[str, Any], field: str
):
    with pytest.raises(InvalidInput) as caught:
        store.append([event("fine"), event("broken", **change)])
    assert caught.value.details == {"field": field, "event_id": "broken"}
    assert store.user_version("ada") == 0


@pytest.mark.parametrize("user_id", ["a\0b", "\ud800"])
def test_a_user_id_that_no_database_can_hold_is_refused(store: EventStore, user_id: str):
    for call in (store.user_version, store.erase, lambda user: store.history(user, 1)):
        with pytest.raises(InvalidInput, match="user_id"):
            call(user_id)


# ── scan and import ──────────────────────────────────────────────────────────────────────────────


def many(count: int, users: int = 50) -> list[Event]:
    dice = random.Random(5)
    kinds = ("view", "click", "like")
    return [
        event(f"e{i}", f"u{dice.randrange(users)}", dice.randrange(100), type=dice.choice(kinds))
        for i in range(count)
    ]


def test_an_imported_table_is_scanned_by_user_time_and_id(store: EventStore):
    rows = many(12_000)
    told: list[int] = []
    assert store.import_events(table(rows), told.append) == Imported(12_000, 0)
    assert sum(told) == 12_000
    expected = sorted(rows, key=lambda one: (one.user_id, one.time, one.event_id))
    assert list(store.scan()) == expected
    assert store.user_version("u1") >= 1


def test_a_second_import_finds_only_duplicates(store: EventStore):
    rows = many(100)
    store.import_events(table(rows), ignore)
    versions = {row.user_id: store.user_version(row.user_id) for row in rows}
    assert store.import_events(table(rows), ignore) == Imported(0, 100)
    assert versions == {row.user_id: store.user_version(row.user_id) for row in rows}


def test_an_imported_event_with_another_body_is_a_conflict(store: EventStore):
    store.append([event("1")])
    with pytest.raises(EventConflict):
        store.import_events(table([event("0"), event("1", value=2.0)]), ignore)
    assert list(store.scan()) == [event("1")]


def _without_text(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["text"])


def _in_seconds(rows: pa.Table) -> pa.Table:
    place = rows.schema.get_field_index("time")
    return rows.set_column(place, "time", rows["time"].cast(pa.timestamp("s", tz="UTC")))


def _without_an_item(rows: pa.Table) -> pa.Table:
    place = rows.schema.get_field_index("item_id")
    return rows.set_column(place, "item_id", pa.nulls(rows.num_rows, pa.string()))


def _far_future(rows: pa.Table) -> pa.Table:
    place = rows.schema.get_field_index("time")
    late = pa.array([2**62], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    return rows.set_column(place, "time", late)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without_text, "exactly the columns"),
        (_in_seconds, r"column time .* is timestamp\[s"),
        (_without_an_item, "column item_id .* empty in 1 rows"),
        (_far_future, "outside the years"),
    ],
)
def test_an_unusable_event_table_is_refused(
    store: EventStore, spoil: Callable[[pa.Table], pa.Table], says: str
):
    with pytest.raises(InvalidInput, match=says):
        store.import_events(spoil(table([event()])), ignore)
    assert list(store.scan()) == []


# ── erase ────────────────────────────────────────────────────────────────────────────────────────


def test_erasing_removes_events_and_answers_and_advances_the_version(store: EventStore):
    store.append([event("1"), event("2", user_id="bob")])
    store.append([event("3")])
    store.record([Shown("ada", answer("r1", 2)), Shown("bob", answer("r2", 1))])
    assert store.erase("ada") == Erasure(2, 1, user_version=3, spans=(Span(NOON, NOON),))
    assert store.history("ada", 10) == History(3, ())
    assert [one.event_id for one in store.scan()] == ["2"]
    with pytest.raises(NotFound):
        store.recommendation("r1")
    assert store.recommendation("r2") == answer("r2", 1)


def test_a_version_never_goes_back_after_erasing(store: EventStore):
    store.append([event("1")])
    assert store.erase("ada").user_version == 2
    assert store.append([event("1")]) == Accepted(1, 0, {"ada": 3})
    assert store.erase("ada").user_version == 4


def test_erasing_a_user_never_seen_still_counts(store: EventStore):
    assert store.erase("nobody") == Erasure(0, 0, 1)


def test_an_answer_from_before_an_erasure_is_not_recorded_after_it(store: EventStore):
    store.append([event("1")])
    store.erase("ada")
    store.append([event("2")])
    shown = [
        Shown("ada", answer("old", 1)),
        Shown("ada", answer("unknown", None)),
        Shown("ada", answer("new", 3)),
        Shown(None, answer("session", None)),
    ]
    store.record(shown)
    assert [_stored(store, name) for name in ("old", "unknown", "new", "session")] == [
        False,
        False,
        True,
        True,
    ]


def _stored(store: EventStore, recommendation_id: str) -> bool:
    try:
        return store.recommendation(recommendation_id).recommendation_id == recommendation_id
    except NotFound:
        return False


# ── shown recommendations ────────────────────────────────────────────────────────────────────────


def test_a_recorded_answer_comes_back_bit_for_bit(store: EventStore):
    store.record([Shown("ada", answer("r1", 7)), Shown(None, answer("r2", None))])
    store.record([Shown("ada", answer("r1", 7))])
    assert store.recommendation("r1") == answer("r1", 7)
    assert store.recommendation("r2") == answer("r2", None)


@pytest.mark.parametrize("name", ["never-made", "", "a\0b", "\ud800"])
def test_an_unknown_recommendation_is_not_found(store: EventStore, name: str):
    with pytest.raises(NotFound, match="Ask for a new one"):
        store.recommendation(name)


def test_an_answer_past_its_time_to_live_is_not_found(store: EventStore, clock: Clock):
    store.record([Shown("ada", answer())])
    clock.now += timedelta(hours=1)
    with pytest.raises(NotFound):
        store.recommendation("r1")


def test_recording_purges_what_expired(store: EventStore, clock: Clock):
    store.record([Shown("ada", answer("old"))])
    clock.now += timedelta(hours=2)
    store.record([])
    clock.now = NOON
    with pytest.raises(NotFound):
        store.recommendation("old")


# ── several writers ──────────────────────────────────────────────────────────────────────────────


def start_writer(url: str, name: str, batches: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.event_writer", url, name, str(batches)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_no_event_and_no_version(event_store_url: str):
    writers = [start_writer(event_store_url, f"w{number}", 25) for number in range(4)]
    ends = [writer.communicate() for writer in writers]
    assert [out for out, _ in ends] == ["stored\n"] * 4
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        histories = [store.history(user, 500) for user in USERS]
    assert [(one.user_version, len(one.events)) for one in histories] == [(100, 100)] * len(USERS)


def test_events_are_there_after_their_writer_was_killed(event_store_url: str):
    writer = start_writer(event_store_url, "w", 3)
    assert writer.stdout
    assert writer.stdout.readline() == "stored\n"
    writer.kill()
    writer.communicate()
    with open_event_store(event_store_url, timeout_s=30, ttl_s=60) as store:
        assert len(list(store.scan())) == 3 * len(USERS)
        assert store.user_version(USERS[0]) == 3


def test_overlapping_batches_in_any_order_store_every_event_once(store: EventStore):
    rows = [event(f"e{i}", user_id=f"u{i % 7}") for i in range(60)]

    def write(seed: int) -> int:
        dice = random.Random(seed)
        return sum(store.append(dice.sample(rows, 20)).accepted for _ in range(15))

    with ThreadPoolExecutor(6) as pool:
        accepted = sum(pool.map(write, range(6)))
    assert accepted == len(list(store.scan())) == 60


def test_a_history_holds_just_the_events_that_its_version_counts(store: EventStore):
    def write() -> None:
        for number in range(60):
            store.append([event(f"e{number}")])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = 0
        while seen < 60:
            history = store.history("ada", 500)
            assert history.user_version == len(history.events)
            seen = history.user_version
            if writing.done():
                writing.result()


def test_an_erasure_among_writers_leaves_only_events_of_later_versions(store: EventStore):
    def write(name: int) -> None:
        for number in range(25):
            store.append([event(f"{name}-{number}")])

    erased = 0
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, name) for name in range(3)]
        while not all(writer.done() for writer in writers):
            receipt = store.erase("ada")
            history = store.history("ada", 500)
            assert len(history.events) == history.user_version - receipt.user_version
            erased += receipt.events
    assert erased + store.erase("ada").events == 75


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


def test_many_may_open_a_new_store_at_once(event_store_url: str):
    def use(number: int) -> SqlEventStore:
        opened = open_event_store(event_store_url, timeout_s=30, ttl_s=60)
        opened.append([event(f"e{number}")])
        return opened

    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(use, range(8)))
    assert stores[0].user_version("ada") == 8
    for opened in stores:
        opened.close()


def test_a_store_that_can_be_used_passes_its_check(store: EventStore):
    store.check()
