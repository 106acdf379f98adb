"""`llmrec consume`: a broker's messages in, stored events and items out, until it is to stop."""

import asyncio
import json
import logging
import signal
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from llmrec_ray.cli.shared import SettingsFile, settings_of

if TYPE_CHECKING:
    from llmrec_ray.feedback.events import SqlEventStore
    from llmrec_ray.settings import Settings
    from llmrec_ray.streams.handlers import Handler
    from llmrec_ray.streams.meters import Meters

UntilEmpty = Annotated[
    bool, typer.Option("--until-empty", help="End once everything in the stream is applied.")
]


def consume(until_empty: UntilEmpty = False, file: SettingsFile = None) -> None:
    """Read events and items from the message broker, each applied once; SIGTERM ends it.

    What happens is told on stderr, one JSON object a line.
    """
    from llmrec_ray.streams.meters import Meters
    from llmrec_ray.streams.scrapes import exposed

    settings = settings_of(file)
    _log_to_stderr()
    meters, where = Meters(), settings.streams
    shown = (
        nullcontext()
        if where.metrics_port is None
        else exposed(meters.text, where.metrics_host, where.metrics_port)
    )
    with shown:
        asyncio.run(_consume(settings, meters, until_empty=until_empty))


async def _consume(settings: "Settings", meters: "Meters", *, until_empty: bool) -> None:
    from llmrec_ray.parts import open_events, open_stream
    from llmrec_ray.streams.consume import Consumer, Pace

    where = settings.streams
    log = logging.getLogger(__name__)
    with open_events(settings) as store:
        handlers = _handlers(settings, store)
        async with open_stream(settings) as stream:
            pace = Pace(where.batch, where.wait_s, where.retry_s)
            consumer = Consumer(stream, handlers, pace, meters)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
            log.info("consume_started", extra={"stream": where.stream, "consumer": where.consumer})
            await consumer.run(until_empty=until_empty)
    log.info(
        "consume_stopped",
        extra={
            "accepted": meters.accepted,
            "duplicates": meters.duplicates,
            "dead_letters": meters.dead_letters,
        },
    )


def _handlers(settings: "Settings", store: "SqlEventStore") -> dict[str, "Handler"]:
    """By subject; an encoder that does not fit the generation is told before anything is read."""
    from llmrec_ray.errors import Unavailable
    from llmrec_ray.items.stream import Generations, items_handler
    from llmrec_ray.parts import load_embedder, open_objects
    from llmrec_ray.streams.handlers import events_handler

    where, handlers = settings.streams, dict[str, "Handler"]()
    if where.events is not None:
        handlers[where.events] = events_handler(store, settings.limits)
    if where.items is not None:
        embedder = load_embedder(settings)
        generations = Generations(open_objects(settings), embedder.info)
        with suppress(Unavailable):  # the consumer waits for it, and says so
            generations.current()
        handlers[where.items] = items_handler(store.items, generations, embedder, settings.limits)
    return handlers


class _JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, message, and the fields that it was given."""

    _OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in self._OWN},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("llmrec_ray")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
