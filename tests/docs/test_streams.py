"""docs/operations.md has the metrics of the consumer, and its examples are messages it takes."""

import re
from datetime import UTC, datetime
from pathlib import Path

from llmrec_ray.items.stream import read_item
from llmrec_ray.settings import LimitSettings, Settings
from llmrec_ray.streams.messages import read_event
from llmrec_ray.streams.meters import METRICS

ITEMS = "llmrec.items"
PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")


def test_the_documented_metrics_are_those_of_the_consumer() -> None:
    rows = re.findall(
        r"^\| `(llmrec_consume\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE
    )
    documented = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in rows
    ]
    assert documented == [(one.name, one.kind, one.labels, one.meaning) for one in METRICS]


def test_the_commands_make_what_the_defaults_name() -> None:
    streams = Settings().streams
    command = r"^nats stream add (\S+) --subjects (\S+) --defaults$"
    made = dict(re.findall(command, PAGE, re.MULTILINE))
    assert made[streams.stream].split(",") == [streams.events, ITEMS]
    assert streams.dead_letters in made.values()
    assert f"LLMREC_STREAMS__ITEMS={ITEMS} llmrec consume" in PAGE


def test_the_messages_of_the_examples_are_taken() -> None:
    (event, put, gone) = re.findall(r"^nats pub (\S+) '(.+)'$", PAGE, re.MULTILINE)
    assert [event[0], put[0], gone[0]] == [Settings().streams.events, ITEMS, ITEMS]
    read_event(event[1].encode(), LimitSettings(), datetime(2026, 3, 1, tzinfo=UTC))
    assert read_item(put[1].encode(), LimitSettings())[1] is not None
    assert read_item(gone[1].encode(), LimitSettings()) == ("i2", None)
