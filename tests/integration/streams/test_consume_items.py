"""`llmrec consume` of items as the process that it is: into the item log, beside events."""

import asyncio
import json
import signal

import pytest

from llmrec_ray.cli import main
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.items.log import ItemChange, read_since
from tests.integration.streams.conftest import Place, event, item, publish_generation
from tests.integration.streams.test_consume_process import consume, ended, lag, stored, until

ITEMS = "llmrec.items"


def live(place: Place) -> dict[str, ItemChange]:
    with open_event_store(place.settings.event_store.url, timeout_s=30, ttl_s=60) as store:
        return read_since(store.items, 0)[0]


def test_items_and_events_of_one_stream_are_applied_with_poison_set_aside(place: Place) -> None:
    publish_generation(place.folder)
    before = len(stored(place))
    gone = json.dumps({"item_id": "f03", "deleted": True}).encode()
    asyncio.run(place.server.publish("llmrec.events", *(event(n) for n in range(40))))
    asyncio.run(place.server.publish(ITEMS, *(item(n) for n in range(150))))
    asyncio.run(place.server.publish(ITEMS, b"{", gone, item(3, "Changed")))
    asyncio.run(place.server.publish("llmrec.events", *(event(n) for n in range(40, 80))))
    told = ended(consume(place.file(items=ITEMS), "--until-empty"))
    last = told[-1]
    assert (last["accepted"], last["duplicates"], last["dead_letters"]) == (80 + 152, 0, 1)
    assert len(stored(place)) - before == 80
    items = live(place)
    assert sorted(items) == ["f03", *(f"i{number:04}" for number in range(150))]
    assert items["f03"].item is None
    changed = items["i0003"]
    assert changed.item
    assert (changed.item.title, changed.version) == ("Changed", 2)
    ((body, headers),) = asyncio.run(place.server.stored("LLMREC-DEAD"))
    assert body == b"{"
    assert headers["Llmrec-Subject"] == ITEMS
    assert headers["Llmrec-Reason"].startswith("invalid_input: ")
    assert asyncio.run(lag(place)) == 0


def test_a_durable_name_that_read_events_alone_may_read_items_too(place: Place) -> None:
    publish_generation(place.folder)
    asyncio.run(place.server.publish("llmrec.events", event(1)))
    ended(consume(place.file(), "--until-empty"))
    asyncio.run(place.server.publish(ITEMS, item(1)))
    told = ended(consume(place.file(items=ITEMS), "--until-empty"))
    assert told[-1]["accepted"] == 1
    assert sorted(live(place)) == ["i0001"]


def test_items_wait_for_the_first_generation_and_are_applied_then(place: Place) -> None:
    asyncio.run(place.server.publish(ITEMS, item(1)))
    process = consume(place.file(items=ITEMS, events=None))
    assert process.stderr
    while "consume_waiting" not in (line := process.stderr.readline()):
        assert process.poll() is None
    assert json.loads(line)["part"] == "generation"
    publish_generation(place.folder)
    until(lambda: sorted(live(place)) == ["i0001"])
    process.send_signal(signal.SIGTERM)
    ended(process)


def test_an_encoder_that_did_not_make_the_generation_is_said_at_once(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_generation(place.folder, HashingEmbedder(32))
    with pytest.raises(SystemExit) as exited:
        main(["consume", "--settings", str(place.file(items=ITEMS))])
    assert exited.value.code == 1
    assert "was made with" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.timeout(600)
def test_items_of_a_consumer_that_is_killed_twice_are_applied_once_and_in_order(
    place: Place,
) -> None:
    publish_generation(place.folder)
    count = 5_000
    first = [item(number) for number in range(count)]
    second = [item(number, "Changed") for number in range(count)]
    asyncio.run(place.server.publish(ITEMS, *first, *second))
    file = place.file(items=ITEMS, events=None)
    for part in (count // 2, count):

        def reached(part: int = part) -> bool:
            return sum(one.version for one in live(place).values()) >= part

        process = consume(file)
        until(reached)
        process.kill()
        process.communicate()
    ended(consume(file, "--until-empty"))
    items = live(place)
    assert len(items) == count
    assert {one.version for one in items.values()} == {2}
    assert {one.item.title for one in items.values() if one.item} == {"Changed"}
    assert asyncio.run(lag(place)) == 0
