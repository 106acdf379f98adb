"""The consumer on a broker in memory and a real event store: once each, in order, none lost."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmrec_ray.errors import EventStoreUnavailable, StoreUnavailable
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.settings import LimitSettings
from llmrec_ray.streams.consume import Consumer, Pace
from llmrec_ray.streams.handlers import Handled, Handler, events_handler
from llmrec_ray.streams.meters import Meters
from llmrec_ray.types import Event
from tests.support.memory_stream import MemoryBroker, MemoryStream

EVENTS = "in.events"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PACE = Pace(batch=10, wait_s=0.1, retry_s=0.01)


def message(event_id: str, item_id: str = "i1", **more: object) -> bytes:
    plain = {"event_id": event_id, "user_id": "ada", "item_id": item_id, "type": "click"}
    return json.dumps({**plain, "time": NOON.isoformat(), **more}).encode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlEventStore]:
    with open_event_store(f"sqlite:///{tmp_path}/events.db", timeout_s=5, ttl_s=60) as opened:
        yield opened


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(EVENTS, "in.unread")


@pytest.fixture
def handler(store: SqlEventStore) -> Handler:
    return events_handler(store, LimitSettings(), lambda: NOON)


def consumer(broker: MemoryBroker, handler: Handler, meters: Meters | None = None) -> Consumer:
    return Consumer(MemoryStream(broker), {EVENTS: handler}, PACE, meters or Meters())


async def drain(broker: MemoryBroker, handler: Handler) -> Meters:
    """Consume until the stream is empty, as a process of its own."""
    meters = Meters()
    pace = Pace(batch=10, wait_s=0.001, retry_s=0.01)
    await Consumer(MemoryStream(broker), {EVENTS: handler}, pace, meters).run(until_empty=True)
    return meters


async def until(told: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout ends a wait that is in vain."""
    while not told():  # noqa: ASYNC110 what is waited for has no event
        await asyncio.sleep(0.001)


def ids(store: SqlEventStore) -> list[str]:
    return sorted(event.event_id for event in store.scan())


async def test_every_event_is_stored_and_acked(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    broker.publish(EVENTS, *(message(f"e{number:02}") for number in range(25)))
    meters = await drain(broker, handler)
    assert ids(store) == [f"e{number:02}" for number in range(25)]
    assert broker.acked == set(range(1, 26))
    assert (meters.accepted, meters.duplicates, meters.dead_letters, meters.lag) == (25, 0, 0, 0)


async def test_an_event_that_was_sent_twice_counts_once(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    broker.publish(EVENTS, message("e1"), message("e1"), message("e2"))
    meters = await drain(broker, handler)
    assert (meters.accepted, meters.duplicates) == (2, 1)
    assert store.user_version("ada") == 1


async def test_events_for_items_that_nobody_knows_are_stored(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    broker.publish(EVENTS, message("e1", item_id="not-in-any-catalogue"))
    await drain(broker, handler)
    assert ids(store) == ["e1"]


async def test_poison_goes_to_the_dead_letters_and_holds_nobody_up(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    late = message("late", time="2026-03-01T12:06:00Z")
    broker.publish(EVENTS, message("e1"), b"\xff", message("e2"), late, message("e3", more=1))
    broker.publish("in.unread", b"{}")
    broker.publish(EVENTS, message("e4"))
    meters = await drain(broker, handler)
    assert ids(store) == ["e1", "e2", "e4"]
    assert {place: body for place, (body, _) in broker.dead.items()} == {
        2: b"\xff",
        4: late,
        5: message("e3", more=1),
        6: b"{}",
    }
    reasons = [broker.dead[place][1] for place in (2, 4, 5, 6)]
    for reason, says in zip(reasons, ("JSON", "future", "more: ", "in.unread"), strict=True):
        assert reason.startswith("invalid_input: ")
        assert says in reason
    assert len(broker.acked) == 7
    assert (meters.accepted, meters.dead_letters) == (3, 4)


async def test_an_id_that_stands_for_two_bodies_is_poison_and_the_first_is_kept(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    store.append([Event("old", "ada", "i1", "click", NOON)])
    sent = [message(f"e{number}") for number in range(8)]
    broker.publish(EVENTS, *sent[:3], message("old", item_id="i2"), *sent[3:])
    broker.publish(EVENTS, message("e5", item_id="i2"))
    meters = await drain(broker, handler)
    assert ids(store) == [*(f"e{number}" for number in range(8)), "old"]
    assert all(event.item_id == "i1" for event in store.scan())
    assert sorted(broker.dead) == [4, 10]
    assert all(reason.startswith("event_conflict: ") for _, reason in broker.dead.values())
    assert (meters.accepted, meters.dead_letters) == (8, 2)


async def test_nothing_is_acked_while_the_event_store_is_away(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    tries = 0

    def away_at_first(bodies: Sequence[bytes]) -> Handled:
        nonlocal tries
        tries += 1
        if tries < 4:
            assert not broker.acked
            raise EventStoreUnavailable("the event store is away.")
        return handler(bodies)

    broker.publish(EVENTS, message("e1"), message("e2"))
    meters = await drain(broker, away_at_first)
    assert (tries, ids(store), broker.acked) == (4, ["e1", "e2"], {1, 2})
    assert not any(meters.waiting.values())


async def test_while_it_waits_for_the_store_it_says_so_and_measures_the_lag(
    broker: MemoryBroker,
) -> None:
    def away(_: Sequence[bytes]) -> Handled:
        raise EventStoreUnavailable("the event store is away.")

    meters = Meters()
    broker.publish(EVENTS, *(message(f"e{number}") for number in range(12)))
    waiting = consumer(broker, away, meters)
    running = asyncio.ensure_future(waiting.run())
    await until(lambda: meters.waiting["event_store"] and meters.lag is not None)
    assert meters.lag == 12
    waiting.stop()
    await running
    assert (broker.acked, broker.out) == (set(), set()), "what it could not apply is given back"


async def test_a_broker_that_comes_back_is_read_on(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    meters = Meters()
    reading = consumer(broker, handler, meters)
    running = asyncio.ensure_future(reading.run())
    broker.publish(EVENTS, message("e1"))
    await until(lambda: broker.acked == {1})
    broker.away = True
    broker.publish(EVENTS, message("e2"))
    await until(lambda: meters.waiting["broker"])
    broker.away = False
    await until(lambda: broker.acked == {1, 2})
    reading.stop()
    broker.publish(EVENTS, message("e3"))
    await running
    assert ids(store)[:2] == ["e1", "e2"]
    assert not meters.waiting["broker"]


async def test_a_broker_that_goes_before_the_ack_costs_a_duplicate_alone(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    def store_and_lose_the_broker(bodies: Sequence[bytes]) -> Handled:
        broker.away = store.user_version("ada") == 0
        return handler(bodies)

    meters = Meters()
    broker.publish(EVENTS, message("e1"))
    reading = consumer(broker, store_and_lose_the_broker, meters)
    running = asyncio.ensure_future(reading.run())
    await until(lambda: meters.waiting["broker"])
    broker.away = False
    await until(lambda: broker.acked == {1})
    reading.stop()
    broker.publish(EVENTS, message("e1"))
    await running
    assert (ids(store), store.user_version("ada")) == (["e1"], 1)
    assert (meters.accepted, meters.duplicates) == (0, 2)


async def test_asked_to_stop_it_finishes_the_batch_in_hand(
    broker: MemoryBroker, handler: Handler, store: SqlEventStore
) -> None:
    def stop_and_handle(bodies: Sequence[bytes]) -> Handled:
        loop.call_soon_threadsafe(stopping.stop)
        return handler(bodies)

    loop = asyncio.get_running_loop()
    broker.publish(EVENTS, *(message(f"e{number:02}") for number in range(15)))
    stopping = consumer(broker, stop_and_handle)
    await stopping.run()
    assert ids(store) == [f"e{number:02}" for number in range(10)]
    assert broker.acked == set(range(1, 11))
    assert broker.out == broker.acked


async def test_of_a_batch_each_subject_is_handled_at_once_and_in_order(
    broker: MemoryBroker,
) -> None:
    seen: list[list[bytes]] = []

    def note(bodies: Sequence[bytes]) -> Handled:
        seen.append(list(bodies))
        return Handled(accepted=len(bodies))

    for number, subject in enumerate([EVENTS, "in.unread", EVENTS, EVENTS, "in.unread"]):
        broker.publish(subject, b"%d" % number)
    pace = Pace(batch=10, wait_s=0.001, retry_s=0.01)
    handlers = {EVENTS: note, "in.unread": note}
    await Consumer(MemoryStream(broker), handlers, pace, Meters()).run(until_empty=True)
    assert seen == [[b"0", b"2", b"3"], [b"1", b"4"]]


async def test_a_subject_whose_store_is_away_gives_back_its_messages_alone(
    broker: MemoryBroker, handler: Handler
) -> None:
    def away(_: Sequence[bytes]) -> Handled:
        raise StoreUnavailable("the object store is away.")

    broker.publish(EVENTS, message("e1"))
    broker.publish("in.unread", b"1", b"2")
    broker.publish(EVENTS, message("e2"))
    meters = Meters()
    handlers = {EVENTS: handler, "in.unread": away}
    waiting = Consumer(MemoryStream(broker), handlers, PACE, meters)
    running = asyncio.ensure_future(waiting.run())
    await until(lambda: meters.waiting["object_store"])
    assert broker.acked == {1, 4}
    waiting.stop()
    await running
    assert broker.out == broker.acked
