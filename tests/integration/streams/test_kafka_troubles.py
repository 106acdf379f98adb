"""Kafka beyond the contract: several partitions, a broker that goes, settings that are wrong."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llmrec_ray.errors import InvalidSettings, LLMRecError, StreamUnavailable
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.items.log import read_since
from llmrec_ray.parts import open_stream
from llmrec_ray.settings import settings_of
from llmrec_ray.streams.kafka import KafkaStream
from tests.integration.streams.conftest import event, item, publish_generation
from tests.support.kafka import KafkaServer

EVENTS, ITEMS, DEAD = "llmrec.events", "llmrec.items", "llmrec.dead"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path / "kafka") as started:
        yield started


async def add_topics(server: KafkaServer, partitions: int = 3) -> None:
    await server.add_topic(EVENTS, partitions)
    await server.add_topic(ITEMS, partitions)
    await server.add_topic(DEAD)


def streams(server: KafkaServer, **values: object) -> KafkaStream:
    opened = open_stream(
        settings_of({"streams": {"url": server.url, "timeout_s": 1, "retry_s": 0.2, **values}})
    )
    assert isinstance(opened, KafkaStream)
    return opened


async def trouble(stream: KafkaStream) -> LLMRecError:
    with pytest.raises(LLMRecError) as caught:
        async with stream:
            pass
    return caught.value


async def everything(stream: KafkaStream, count: int) -> list[tuple[int, bytes]]:
    """So many messages, each with its partition."""
    found: list[tuple[int, bytes]] = []
    while len(found) < count:
        part = await stream.fetch(100, 5)
        found += [(int(one.receipt.split("/")[1]), one.body) for one in part]
    return found


async def told(stream: KafkaStream) -> None:
    """Ask for the lag until an error comes."""
    while True:
        await stream.lag()
        await asyncio.sleep(0.05)


async def test_every_partition_is_read_in_its_order(server: KafkaServer) -> None:
    await add_topics(server)
    for number in range(3):
        bodies = [b"%d-%d" % (number, place) for place in range(10)]
        await server.publish(EVENTS, *bodies, partition=number)
    async with streams(server) as stream:
        assert await stream.lag() == 30
        found = await everything(stream, 30)
    for number in range(3):
        own = [body for partition, body in found if partition == number]
        assert own == [b"%d-%d" % (number, place) for place in range(10)]


async def test_an_ack_past_a_message_without_one_leaves_it_to_come_again(
    server: KafkaServer,
) -> None:
    await add_topics(server, partitions=1)
    await server.publish(EVENTS, b"0", b"1", b"2")
    async with streams(server) as stream:
        first, *later = await stream.fetch(3, 5)
        await stream.ack(later)
        assert await stream.lag() == 3
    async with streams(server) as stream:
        assert [one.body for one in await stream.fetch(3, 5)] == [b"0", b"1", b"2"]
    assert first.body == b"0"


async def test_what_is_released_comes_first_and_in_order(server: KafkaServer) -> None:
    await add_topics(server, partitions=1)
    await server.publish(EVENTS, *(b"%d" % number for number in range(6)))
    async with streams(server) as stream:
        first, ahead = await stream.fetch(3, 5), await stream.fetch(3, 5)
        await stream.ack(first[:1])
        await stream.release(first[1:])
        await stream.release(ahead)
        found = await everything(stream, 5)
    assert [body for _, body in found] == [b"1", b"2", b"3", b"4", b"5"]


async def test_a_broker_that_is_gone_is_said_and_nothing_is_hung(server: KafkaServer) -> None:
    await add_topics(server, partitions=1)
    await server.publish(EVENTS, b"0")
    async with streams(server) as stream:
        found = await stream.fetch(1, 5)
        await asyncio.to_thread(server.stop)
        with pytest.raises(StreamUnavailable, match="cannot be used"):
            await stream.ack(found)
        with pytest.raises(StreamUnavailable, match=r"streams\.url|cannot be used"):
            await stream.lag()


async def test_partitions_that_are_there_later_are_read_too(server: KafkaServer) -> None:
    await add_topics(server, partitions=1)
    async with streams(server) as stream:
        assert await stream.lag() == 0
        await server.remove_topic(EVENTS)  # this broker adds no partitions to a topic
        await server.add_topic(EVENTS, 3)
        await server.publish(EVENTS, b"late", partition=2)
        with pytest.raises(StreamUnavailable, match=r"partitions of llmrec\.events have changed"):
            await asyncio.wait_for(told(stream), 60)
        assert await everything(stream, 1) == [(2, b"late")]


async def test_credentials_that_are_refused_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMREC_STREAMS_USER", "ada")
    monkeypatch.setenv("LLMREC_STREAMS_PASSWORD", "wr0ng-p4ss")
    with KafkaServer(tmp_path / "locked", password=True) as locked:
        error = await trouble(streams(locked, sasl="SCRAM-SHA-256"))
    assert isinstance(error, InvalidSettings)
    assert "LLMREC_STREAMS_PASSWORD" in str(error)
    assert "wr0ng-p4ss" not in str(error)


async def test_nobody_listens_there(free_port: int) -> None:
    opened = open_stream(settings_of({"streams": {"url": f"kafka://127.0.0.1:{free_port}"}}))
    assert isinstance(opened, KafkaStream)
    error = await trouble(opened)
    assert isinstance(error, StreamUnavailable)
    assert str(free_port) in str(error)


@pytest.mark.parametrize("url", ["kafka://", "kafka://broker", "kafka://a:1,b:99999", "kafka://:1"])
async def test_no_address(url: str) -> None:
    opened = open_stream(settings_of({"streams": {"url": url}}))
    assert isinstance(opened, KafkaStream)
    error = await trouble(opened)
    assert isinstance(error, InvalidSettings)
    assert "kafka://127.0.0.1:9092" in str(error)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"events": "nowhere"}, "no topic nowhere"),
        ({"items": "no.items"}, "no topic no.items"),
        ({"dead_letters": "gone"}, "streams.dead_letters"),
    ],
)
async def test_a_topic_that_is_not_there_is_named_and_not_made(
    server: KafkaServer, changed: dict[str, str], says: str
) -> None:
    await add_topics(server)
    for _ in range(2):  # asked for the first time, a broker may have made it
        error = await trouble(streams(server, **changed))
        assert isinstance(error, InvalidSettings)
        assert says in str(error)
        assert "kafka-topics.sh --bootstrap-server 127.0.0.1:" in str(error)


async def test_a_token_is_refused(server: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_STREAMS_TOKEN", "t0ken")
    error = await trouble(streams(server))
    assert "LLMREC_STREAMS_PASSWORD" in str(error)
    assert "t0ken" not in str(error)


async def test_poison_larger_than_a_dead_letter_may_be_is_buried_cut(server: KafkaServer) -> None:
    await add_topics(server, partitions=1)
    await server.publish(EVENTS, b"x" * 1_040_000)
    async with streams(server) as stream:
        (found,) = await stream.fetch(1, 5)
        larger = type(found)(found.subject, found.body * 2, found.place, found.receipt)
        await stream.bury(larger, "too_large: ünusable\r\nForged: yes")
    ((body, headers),) = await server.stored(DEAD)
    assert 1_000_000 < len(body) < 1_048_576
    assert headers["Llmrec-Cut"] == "2080000 bytes"
    assert headers["Llmrec-Reason"] == "too_large: ünusable Forged: yes"
    assert (headers["Llmrec-Subject"], headers["Llmrec-Place"]) == (EVENTS, "1")


def test_the_process_applies_events_and_items_of_kafka(server: KafkaServer, tmp_path: Path) -> None:
    publish_generation(tmp_path)
    asyncio.run(add_topics(server))
    asyncio.run(server.publish(EVENTS, *(event(number) for number in range(30)), b"{"))
    asyncio.run(server.publish(ITEMS, *(item(number) for number in range(20)), partition=1))
    settings = {
        "event_store": {"url": f"sqlite:///{tmp_path}/events.db"},
        "object_store": {"url": f"file://{tmp_path}/objects"},
        "embedding": {"model": "hashing"},
        "streams": {"url": server.url, "items": ITEMS},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    run = "from llmrec_ray.cli import main; main()"
    given = ["consume", "--settings", str(tmp_path / "settings.yaml"), "--until-empty"]
    for accepted in (50, 0):  # what is acked does not come again
        done = subprocess.run([sys.executable, "-c", run, *given], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stderr.splitlines()[-1])["accepted"] == accepted
    with open_event_store(f"sqlite:///{tmp_path}/events.db", timeout_s=30, ttl_s=60) as store:
        assert len([one for one in store.scan() if one.event_id.startswith("e0")]) == 30
        assert len(read_since(store.items, 0)[0]) == 20
    ((body, headers),) = asyncio.run(server.stored(DEAD))
    assert (body, headers["Llmrec-Place"]) == (b"{", "31")
