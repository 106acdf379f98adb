"""docs/operations.md has the metrics of the consumer, and its example is a message it takes."""

import re
from datetime import UTC, datetime
from pathlib import Path

from llmrec_ray.settings import LimitSettings, Settings
from llmrec_ray.streams.messages import read_event
from llmrec_ray.streams.meters import METRICS

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
    made = dict(re.findall(r"^nats stream add (\S+) --subjects (\S+)$", PAGE, re.MULTILINE))
    assert made[streams.stream] == streams.events
    assert streams.dead_letters in made.values()


def test_the_message_of_the_example_is_taken() -> None:
    ((subject, body),) = re.findall(r"^nats pub (\S+) '(.+)'$", PAGE, re.MULTILINE)
    assert subject == Settings().streams.events
    read_event(body.encode(), LimitSettings(), datetime(2026, 3, 1, tzinfo=UTC))
