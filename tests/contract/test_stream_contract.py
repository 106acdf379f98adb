"""What every stream promises: in memory, on a real NATS server, on a broker that speaks Kafka."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest
import pytest_asyncio

from llmrec_ray.settings import StreamAccess
from llmrec_ray.streams.kafka import KafkaStream
from llmrec_ray.streams.nats import NatsStream
from llmrec_ray.streams.port import Stream
from llmrec_ray.streams.subscription import Subscription, Waits
from tests.support.kafka import KafkaServer
from tests.support.memory_stream import MemoryBroker, MemoryStream
from tests.support.nats import NatsServer

SUBJECT, DEAD, OTHER = "in.events", "dead", "in.other"
SOON_S, LONG_S = 0.05, 10.0


class Broker(Protocol):
    """A broker as a test sees it."""

    async def publish(self, *bodies: bytes, subject: str = SUBJECT) -> None: ...

    async def open(self) -> Stream:
        """A subscription of the one durable name, as a process that starts has it."""
        ...

    async def dead(self) -> list[tuple[bytes, str]]: ...


class InMemory:
    def __init__(self) -> None:
        self._broker = MemoryBroker(SUBJECT)

    async def publish(self, *bodies: bytes, subject: str = SUBJECT) -> None:
        self._broker.publish(subject, *bodies)

    async def open(self) -> Stream:
        return MemoryStream(self._broker)

    async def dead(self) -> list[tuple[bytes, str]]:
        return list(self._broker.dead.values())


class OnNats:
    def __init__(self, server: NatsServer, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._opened: list[NatsStream] = []

    async def publish(self, *bodies: bytes, subject: str = SUBJECT) -> None:
        await self._server.publish(f"{self._prefix}.{subject}", *bodies)

    async def open(self) -> Stream:
        wanted = Subscription(
            self._server.url,
            f"{self._prefix}-in",
            (f"{self._prefix}.{SUBJECT}",),
            "reader",
            f"{self._prefix}.{DEAD}",
        )
        waits = Waits(timeout_s=5, ack_s=600, unacked=100)
        stream = await NatsStream(wanted, StreamAccess(), waits).__aenter__()
        self._opened.append(stream)
        return stream

    async def dead(self) -> list[tuple[bytes, str]]:
        found = await self._server.stored(f"{self._prefix}-dead")
        return [(body, headers["Llmrec-Reason"]) for body, headers in found]

    async def close(self) -> None:
        for stream in self._opened:
            await stream.close()


class OnKafka:
    def __init__(self, server: KafkaServer, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._opened: list[KafkaStream] = []

    async def publish(self, *bodies: bytes, subject: str = SUBJECT) -> None:
        await self._server.publish(f"{self._prefix}.{subject}", *bodies)

    async def open(self) -> Stream:
        topic, dead = f"{self._prefix}.{SUBJECT}", f"{self._prefix}.{DEAD}"
        wanted = Subscription(self._server.url, "", (topic,), f"{self._prefix}-reader", dead)
        waits = Waits(timeout_s=5, ack_s=600, unacked=100)
        stream = await KafkaStream(wanted, StreamAccess(), waits, "PLAIN").__aenter__()
        self._opened.append(stream)
        return stream

    async def dead(self) -> list[tuple[bytes, str]]:
        found = await self._server.stored(f"{self._prefix}.{DEAD}")
        return [(body, headers["Llmrec-Reason"]) for body, headers in found]

    async def close(self) -> None:
        for stream in self._opened:
            await stream.close()


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest_asyncio.fixture(params=["memory", "nats", "kafka"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    if request.param == "memory":
        yield InMemory()
        return
    prefix = f"t{uuid.uuid4().hex}"
    if request.param == "kafka":
        kafka: KafkaServer = request.getfixturevalue("kafka_server")
        for name in (SUBJECT, OTHER, DEAD):
            await kafka.add_topic(f"{prefix}.{name}")
        on_kafka = OnKafka(kafka, prefix)
        yield on_kafka
        await on_kafka.close()
        return
    server: NatsServer = request.getfixturevalue("nats_server")
    await server.add_stream(f"{prefix}-in", f"{prefix}.in.*")
    await server.add_stream(f"{prefix}-dead", f"{prefix}.{DEAD}")
    found = OnNats(server, prefix)
    yield found
    await found.close()


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


async def fetched(stream: Stream, count: int) -> list[bytes]:
    """Fetch until so many are there, or none comes any more."""
    found: list[bytes] = []
    while len(found) < count and (part := await stream.fetch(count - len(found), LONG_S)):
        found += [one.body for one in part]
    return found


async def test_messages_come_in_the_order_in_which_they_were_published(broker: Broker) -> None:
    stream = await broker.open()
    await broker.publish(*numbered(30))
    assert await fetched(stream, 30) == numbered(30)


async def test_what_was_published_before_the_first_subscription_is_read(broker: Broker) -> None:
    await broker.publish(b"early")
    assert await fetched(await broker.open(), 1) == [b"early"]


async def test_places_grow_and_the_subject_is_told(broker: Broker) -> None:
    await broker.publish(*numbered(3))
    found = await (await broker.open()).fetch(3, LONG_S)
    assert [one.place for one in found] == [1, 2, 3]
    assert all(one.subject.endswith(SUBJECT) for one in found)


async def test_no_more_than_asked_for_is_fetched(broker: Broker) -> None:
    stream = await broker.open()
    await broker.publish(*numbered(5))
    assert len(await stream.fetch(2, LONG_S)) == 2


async def test_an_empty_stream_gives_nothing(broker: Broker) -> None:
    assert await (await broker.open()).fetch(5, SOON_S) == []


async def test_other_subjects_of_the_stream_are_not_read(broker: Broker) -> None:
    stream = await broker.open()
    await broker.publish(b"theirs", subject=OTHER)
    await broker.publish(b"ours")
    assert await fetched(stream, 1) == [b"ours"]
    assert await stream.lag() == 1


async def test_what_is_acked_never_comes_again(broker: Broker) -> None:
    first = await broker.open()
    await broker.publish(*numbered(4))
    await first.ack(await first.fetch(4, LONG_S))
    await first.ack([])
    await first.close()
    assert await (await broker.open()).fetch(4, SOON_S) == []


async def test_what_was_not_acked_comes_first_to_whoever_opens_next(broker: Broker) -> None:
    first = await broker.open()
    await broker.publish(*numbered(6))
    found = await first.fetch(4, LONG_S)
    await first.ack(found[:2])
    await first.close()
    await broker.publish(*numbered(2, start=6))
    assert await fetched(await broker.open(), 6) == numbered(6, start=2)


async def test_what_is_released_comes_again_at_once(broker: Broker) -> None:
    stream = await broker.open()
    await broker.publish(*numbered(3))
    await stream.release(await stream.fetch(3, LONG_S))
    assert sorted(await fetched(stream, 3)) == numbered(3)


async def test_the_lag_is_what_is_not_acked(broker: Broker) -> None:
    stream = await broker.open()
    await broker.publish(*numbered(5))
    found = await stream.fetch(3, LONG_S)
    assert await stream.lag() == 5
    await stream.ack(found)
    assert await stream.lag() == 2


async def test_a_buried_message_is_stored_once_with_its_reason(broker: Broker) -> None:
    stream = await broker.open()
    await broker.publish(b"\xff poison")
    (found,) = await stream.fetch(1, LONG_S)
    await stream.bury(found, "invalid: unusable")
    await stream.bury(found, "invalid: unusable")
    assert await broker.dead() == [(b"\xff poison", "invalid: unusable")]
    assert await stream.lag() == 1
