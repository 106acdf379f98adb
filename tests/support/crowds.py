"""A service's address in; thousands of clients of every kind at it out, on raw connections."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from uuid import uuid4

Address = tuple[str, int]

DRIP_S = 4.0
"""Between two bytes of a slow client: often enough that no timeout between bytes ends it."""
PATIENCE_S = 120.0
AT_ONCE = 200
"""Connections that are being made: a client that makes all at once is late with all requests."""


@dataclass
class Answer:
    """One answer of the service."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def refused(self) -> bool:
        """A problem that says when to come again."""
        problem = self.headers.get("content-type") == "application/problem+json"
        return self.status in {429, 503} and problem and int(self.headers["retry-after"]) > 0


@dataclass
class Seen:
    """What clients got: how many answers of each kind, and the events that were acknowledged."""

    outcomes: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    seconds: float = 0.0

    def note(self, answer: Answer, event: str | None = None) -> None:
        outcome = "refused" if answer.refused else f"{answer.status} {answer.body[:60]!r}"
        self.outcomes["answered" if answer.status == 200 else outcome] += 1
        if event is not None and answer.status == 200:
            assert json.loads(answer.body)["accepted"] == 1
            self.acknowledged.add(event)

    @property
    def goodput(self) -> float:
        return self.outcomes["answered"] / self.seconds


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


def post(path: str, body: object, **headers: str) -> bytes:
    sent = json.dumps(body).encode()
    head = {
        "Host": "service",
        "Content-Type": "application/json",
        "Content-Length": str(len(sent)),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + sent


def liking(name: str) -> bytes:
    """One event, under that id."""
    event = {"event_id": name, "user_id": "crowd", "item_id": "f00", "type": "like"}
    return post("/v1/events", event | {"time": "2026-01-01T00:00:00Z"})


RECOMMEND = post("/v1/recommendations", {"user_id": "u1"})


async def read(reader: asyncio.StreamReader) -> Answer:
    """Raises `EOFError` where the connection ends first."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def connected(
    address: Address,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


# ── clients ──────────────────────────────────────────────────────────────────────────────────────


async def behave(address: Address, seen: Seen, until: asyncio.Event) -> None:
    """Ask and tell in turn, each time waiting for the answer, and a moment after a refusal."""
    while not until.is_set():
        with contextlib.suppress(ConnectionError, EOFError):
            async with connected(address) as (reader, writer):
                while not until.is_set():
                    name = uuid4().hex
                    for request, event in ((RECOMMEND, None), (liking(name), name)):
                        writer.write(request)
                        answer = await read(reader)
                        seen.note(answer, event)
                        if answer.refused:
                            await asyncio.sleep(0.05)


async def goodput(address: Address, seconds: float) -> Seen:
    """What well-behaved clients get for a while, in a process that the others do not slow down."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        return await loop.run_in_executor(apart, _behaving, address, seconds)


def _behaving(address: Address, seconds: float) -> Seen:
    return asyncio.run(_goodput(address, seconds))


async def _goodput(address: Address, seconds: float, clients: int = 8) -> Seen:
    seen, until = Seen(), asyncio.Event()
    since = time.monotonic()
    behaving = [asyncio.ensure_future(behave(address, seen, until)) for _ in range(clients)]
    await asyncio.sleep(seconds)
    until.set()
    _, stuck = await asyncio.wait(behaving, timeout=PATIENCE_S)
    seen.outcomes["stuck"] = len(stuck)
    for one in stuck:
        one.cancel()
    for one in behaving:
        if one not in stuck:
            one.result()
    seen.seconds = time.monotonic() - since
    return seen


async def drip(address: Address, seen: Seen, beginning: bytes, drop: bytes) -> None:
    """Begin a request, then send drop by drop until the service has had enough; do it again."""
    while True:
        with contextlib.suppress(ConnectionError, EOFError):
            async with connected(address) as (reader, writer):
                writer.write(beginning)
                answering = asyncio.ensure_future(read(reader))
                try:
                    while not (await asyncio.wait({answering}, timeout=DRIP_S))[0]:
                        writer.write(drop)
                    seen.note(answering.result())
                except EOFError:
                    seen.outcomes["closed"] += 1
                finally:
                    answering.cancel()


async def gape(address: Address, request: bytes) -> None:
    """Ask for much, and never read it."""
    async with connected(address) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined] a transport of sockets has it
        writer.write(request)
        await asyncio.Event().wait()


@asynccontextmanager
async def crowd(
    clients: list[Callable[[], Awaitable[None]]],
) -> AsyncGenerator[None]:
    """All of these clients at work for the length of the block; some at a time come in."""
    working: list[asyncio.Future[None]] = []
    try:
        for number, client in enumerate(clients):
            working.append(asyncio.ensure_future(client()))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0.05)
        yield
    finally:
        for one in working:
            one.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def spike(address: Address, requests: int) -> Seen:
    """So many clients as fast as they come in, each with one event; all answers."""
    seen, door = Seen(), asyncio.Semaphore(AT_ONCE)

    async def tell() -> None:
        name = uuid4().hex
        try:
            async with contextlib.AsyncExitStack() as open_until_answered:
                async with door:
                    line = connected(address)
                    reader, writer = await open_until_answered.enter_async_context(line)
                    writer.write(liking(name))
                async with asyncio.timeout(PATIENCE_S):
                    seen.note(await read(reader), name)
        except TimeoutError:
            seen.outcomes["stuck"] += 1
        except (OSError, EOFError) as error:
            seen.outcomes[f"no answer: {type(error).__name__}"] += 1

    since = time.monotonic()
    await asyncio.gather(*(tell() for _ in range(requests)))
    seen.seconds = time.monotonic() - since
    return seen
