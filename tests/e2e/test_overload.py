"""The service behind its real HAProxy, overrun: who behaves is answered, who does not is ended."""

import asyncio
import resource
import sqlite3
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console
from rich.table import Table

from serve.ray_process import TOKEN
from tests.e2e.conftest import Live, served, without_a_language_model
from tests.support.crowds import (
    Address,
    Seen,
    crowd,
    drip,
    gape,
    goodput,
    post,
    spike,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

CONNECTIONS = 10_000
SLOW = 5_000
"""Fewer than HAProxy holds where a process may open 20,000 files: beyond that, everybody waits."""
SLOW_BODIES = 1_000
GAPING = 200
WHILE_S = 8.0
ROOM_MIB = 400
"""What a replica or the proxy may grow by: 10,000 connections of two small buffers each."""

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: service\r\n"
BODY = HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


@dataclass
class Overrun:
    """The service, and a table of what was seen of it."""

    service: Live
    events: Path
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def address(self) -> Address:
        url = httpx.URL(self.service.url)
        return url.host, url.port or 80

    def memory(self) -> dict[str, float]:
        """MiB of the ingress replica and of the proxy."""
        found = {"api": 0.0, "proxy": 0.0}
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            ours = command.startswith("ray::ServeReplica:llmrec:api") or "bin/haproxy" in command
            if ours and process.environ().get(TOKEN) == self.service.cluster.node.token:
                kind = "proxy" if "bin/haproxy" in command else "api"
                found[kind] += process.memory_info().rss / 2**20
        return found

    def note(self, phase: str, seen: Seen) -> None:
        now = self.memory()
        others = seen.outcomes.total() - seen.outcomes["answered"] - seen.outcomes["refused"]
        counts = (seen.outcomes["answered"], seen.outcomes["refused"], others)
        sizes = (now["api"], now["proxy"])
        rate = f"{seen.goodput:.0f}"
        self.rows.append((phase, rate, *map(str, counts), *(f"{size:.0f}" for size in sizes)))

    def stored(self) -> set[str]:
        with sqlite3.connect(self.events) as database:
            return {name for (name,) in database.execute("SELECT event_id FROM events")}


@pytest.fixture(scope="module")
def overrun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overrun]:
    """The service of local.yaml without a language model, which has no part in this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 1000:
        pytest.skip(
            f"this process may open {hard} files at most: too few for {CONNECTIONS} clients"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 1000, hard))
    folder = tmp_path_factory.mktemp("overrun")
    try:
        with served(folder, without_a_language_model()) as service:
            found = Overrun(service, folder / "events.db")
            yield found
            drawn = Table("meanwhile", "answers/s", "answered", "refused", "other", "api", "proxy")
            for row in found.rows:
                drawn.add_row(*row)
            Console(width=100).print()
            Console(width=100).print(drawn)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def held(overrun: Overrun, name: str, clients: list[Any]) -> Seen:
    """What well-behaved clients get before, while these are there, and after."""
    overrun.note(f"before {name}", await goodput(overrun.address, WHILE_S / 2))
    before = overrun.memory()
    async with crowd(clients):
        seen = await goodput(overrun.address, WHILE_S)
        overrun.note(name, seen)
        for kind, size in overrun.memory().items():
            assert size < before[kind] + ROOM_MIB, kind
    after = await goodput(overrun.address, WHILE_S / 2)
    overrun.note(f"after {name}", after)
    assert set(+after.outcomes) == {"answered"}
    assert after.acknowledged | seen.acknowledged <= overrun.stored()
    return seen


def run(work: Coroutine[Any, Any, Seen]) -> Seen:
    return asyncio.run(work)


def test_ten_thousand_at_once_are_answered_or_told_when_to_come_again(overrun: Overrun) -> None:
    before = overrun.memory()
    seen = run(spike(overrun.address, CONNECTIONS))
    overrun.note("10,000 at once", seen)
    assert set(+seen.outcomes) <= {"answered", "refused"}
    assert seen.outcomes.total() == CONNECTIONS
    assert seen.acknowledged
    assert seen.acknowledged <= overrun.stored()
    for kind, size in overrun.memory().items():
        assert size < before[kind] + ROOM_MIB, kind
    after = run(goodput(overrun.address, WHILE_S / 2))
    overrun.note("after them", after)
    assert set(+after.outcomes) == {"answered"}


def test_heads_that_drip_in_are_ended_and_keep_nobody_out(overrun: Overrun) -> None:
    slow = Seen()
    clients = [partial(drip, overrun.address, slow, HEAD, b"X-Slow: 1\r\n")] * SLOW
    seen = run(held(overrun, "slow heads", clients))
    assert set(+seen.outcomes) == {"answered"}
    assert slow.outcomes.total() > 0, "none was ended"
    assert not slow.acknowledged


def test_bodies_that_drip_in_are_ended_and_keep_nobody_out(overrun: Overrun) -> None:
    slow = Seen()
    clients = [partial(drip, overrun.address, slow, BODY, b" ")] * SLOW_BODIES
    seen = run(held(overrun, "slow bodies", clients))
    assert set(+seen.outcomes) <= {"answered", "refused"}
    assert seen.outcomes["answered"] > 0
    assert any(outcome.startswith("408") for outcome in slow.outcomes)


def test_streams_that_nobody_reads_keep_nobody_out(overrun: Overrun) -> None:
    much = {"session": [f"f{n % 30:02}" for n in range(500)], "limit": 30, "evidence": True}
    asked = post("/v1/recommendations", much | {"explain": "template"}, Accept="text/event-stream")
    seen = run(held(overrun, "unread streams", [partial(gape, overrun.address, asked)] * GAPING))
    assert set(+seen.outcomes) <= {"answered", "refused"}
    assert seen.outcomes["answered"] > 0
