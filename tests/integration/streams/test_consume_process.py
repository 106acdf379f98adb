"""`llmrec consume` as the process that it is: killed, stopped, and left by its broker."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.parts import open_stream
from llmrec_ray.types import Event
from tests.integration.streams.conftest import Place, event

COMMAND = "from llmrec_ray.cli import main; main()"


def consume(file: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, "consume", "--settings", str(file), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def stored(place: Place) -> list[Event]:
    url = place.settings.event_store.url
    with open_event_store(url, timeout_s=30, ttl_s=60) as store:
        return list(store.scan())


def until(told: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout ends a wait that is in vain."""
    while not told():
        time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """What a process that ended well had to tell."""
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    return [json.loads(line) for line in told.splitlines()]


async def lag(place: Place) -> int:
    async with open_stream(place.settings) as stream:
        return await stream.lag()


def test_a_stream_is_applied_with_its_poison_set_aside(place: Place) -> None:
    bodies = [event(number) for number in range(300)]
    bodies[100:100] = [b"{", event(5, item_id="i9"), event(7)]
    asyncio.run(place.server.publish("llmrec.events", *bodies))
    told = ended(consume(place.file(), "--until-empty"))
    assert [one.event_id for one in sorted(stored(place), key=lambda one: one.event_id)] == [
        f"e{number:06}" for number in range(300)
    ]
    last = told[-1]
    assert (last["message"], last["accepted"], last["duplicates"]) == ("consume_stopped", 300, 1)
    assert [line["place"] for line in told if line["message"] == "message_buried"] == [101, 102]
    dead = asyncio.run(place.server.stored("LLMREC-DEAD"))
    assert [body for body, _ in dead] == [b"{", event(5, item_id="i9")]
    assert "e000005" in dead[1][1]["Llmrec-Reason"]


def test_sigterm_ends_it_with_everything_stored_acked(place: Place, free_port: int) -> None:
    asyncio.run(place.server.publish("llmrec.events", *(event(number) for number in range(2_000))))
    process = consume(place.file(metrics_port=free_port))
    until(lambda: bool(stored(place)))
    process.send_signal(signal.SIGTERM)
    told = ended(process)
    count = len(stored(place))
    assert told[-1]["accepted"] == count
    assert asyncio.run(lag(place)) == 2_000 - count


def test_the_metrics_port_tells_what_was_applied(place: Place, free_port: int) -> None:
    asyncio.run(place.server.publish("llmrec.events", *(event(number) for number in range(250))))
    process = consume(place.file(metrics_port=free_port))
    until(lambda: len(stored(place)) == 250)

    def scraped() -> str:
        with urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    until(lambda: "\nllmrec_consume_lag 0\n" in scraped())
    assert 'llmrec_consume_messages_total{outcome="accepted"} 250' in scraped()
    process.send_signal(signal.SIGINT)
    ended(process)


def test_a_broker_that_was_killed_and_came_back_is_read_on(place: Place) -> None:
    asyncio.run(place.server.publish("llmrec.events", *(event(number) for number in range(200))))
    process = consume(place.file())
    until(lambda: len(stored(place)) == 200)
    place.server.stop()
    assert process.stderr
    while "consume_waiting" not in process.stderr.readline():
        assert process.poll() is None
    place.server.start()
    asyncio.run(
        place.server.publish("llmrec.events", *(event(number) for number in range(200, 300)))
    )
    until(lambda: len(stored(place)) == 300)
    process.send_signal(signal.SIGTERM)
    told = ended(process)
    assert "consume_resumed" in [line["message"] for line in told]
    assert asyncio.run(lag(place)) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_100000_events_are_applied_once_though_the_consumer_is_killed_twice(place: Place) -> None:
    count = 100_000
    asyncio.run(place.server.publish("llmrec.events", *(event(n) for n in range(count))))
    file = place.file(batch=500)
    for part in (count // 4, count // 2):
        process = consume(file)
        until(lambda part=part: _counted(place) >= part)
        process.kill()
        process.communicate()
    assert _counted(place) < count
    told = ended(consume(file, "--until-empty"))
    assert told[-1]["dead_letters"] == 0
    found = sorted(event.event_id for event in stored(place))
    assert found == [f"e{number:06}" for number in range(count)]
    assert asyncio.run(lag(place)) == 0


def _counted(place: Place) -> int:
    """How many events there are, by a question that does not read them all."""
    import sqlite3

    file = place.folder / "events.db"
    if not file.exists():
        return 0
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM events").fetchone()[0]
    except sqlite3.OperationalError:  # the tables are being made
        return 0
    finally:
        connection.close()
