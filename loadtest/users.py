"""One class of simulated caller for each kind of call; `weight` is its share of the arrivals.

In an open loop a caller sends when its next call is due, whether or not the last was answered, and
the clock of a call starts when it was due: a client that falls behind does not hide it.
"""

import itertools
import random
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import gevent
from gevent.pool import Group
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS

from loadtest import replies
from loadtest.ids import Ids, Zipf, event
from loadtest.ledger import Ledger
from loadtest.replies import Told, Wrong
from loadtest.shapes import PER_CALLER

MOST_OPEN = 1000
"""Calls that may be under way at once; a client cannot promise to send more on time."""
NEW_TEXTS = 0.5
RETRIED = 0.1
REFUSED = (429, 503)
STREAM = {"Accept": "text/event-stream"}


@dataclass
class Run:
    """What all callers of this process share; `locustfile` sets it up as `environment.shared`.

    `marks`: what each generation's titles begin with, where they are told apart.
    """

    ids: Ids
    seed: int
    open: bool
    ledger: Ledger = field(default_factory=Ledger)
    marks: Mapping[str, str] = field(default_factory=dict)
    generations: set[str] = field(default_factory=set)
    under_way: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)


class Caller(FastHttpUser):
    """A caller; a subclass says in `call` what is asked, and in `judge` what is right."""

    abstract = True
    network_timeout = 30.0
    connection_timeout = 10.0
    client_pool = HTTPClientPool(concurrency=MOST_OPEN, network_timeout=30.0)
    kind = ""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.shared: Run = environment.shared
        self.random = random.Random(f"{self.shared.seed}/{self.kind}/{next(self.shared.numbers)}")
        self._sent = Group()
        self._due = 0.0
        self._readers = Zipf(len(self.shared.ids.readers))
        self._writers = Zipf(len(self.shared.ids.writers))
        self._items = Zipf(len(self.shared.ids.items))

    @abstractmethod
    def call(self, due: float) -> None: ...

    def judge(self, read: dict[str, Any]) -> Told:
        return replies.ranking(read)

    def on_start(self) -> None:
        if self.shared.open:
            self._due = time.perf_counter() + self._gap()
            gevent.sleep(self._due - time.perf_counter())

    def on_stop(self) -> None:
        self._sent.join(timeout=self.network_timeout)

    def wait_time(self) -> float:
        return max(0.0, self._due - time.perf_counter()) if self.shared.open else 0.0

    @task
    def arrive(self) -> None:
        if not self.shared.open:
            self.call(time.perf_counter())
            return
        if self.shared.under_way >= MOST_OPEN:
            self.shared.ledger.failed(self.kind, f"not sent: {MOST_OPEN} calls are under way")
        else:
            self._sent.spawn(self._counted, self._due)
        self._due += self._gap()

    def _counted(self, due: float) -> None:
        self.shared.under_way += 1
        try:
            self.call(due)
        finally:
            self.shared.under_way -= 1

    def _gap(self) -> float:
        return self.random.expovariate(PER_CALLER)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def ask(self, due: float, method: str, path: str, **sent: Any) -> None:
        """Send, judge the answer, and write it down."""
        with self.client.request(
            method, path, name=self.kind, catch_response=True, **sent
        ) as answer:
            try:
                if answer.status_code in REFUSED and (answer.headers or {}).get("Retry-After"):
                    self.shared.ledger.refused(self.kind, replies.code(answer.content or b""))
                    answer.success()
                    return
                replies.expect(answer.status_code, str(getattr(answer, "error", None) or ""))
                read = self.read(answer, due)
                ms = elapsed_ms(due)
                told = self.judge(read)
                replies.of_one_generation(told, self.shared.marks)
                self._known(told.generation)
            except (Wrong, *FAILURE_EXCEPTIONS) as wrong:
                answer.failure(f"{wrong}")
                self.shared.ledger.failed(self.kind, f"{wrong}")
                return
            self.shared.ledger.answered(self.kind, ms, degraded=told.degraded)
            answer.success()

    def read(self, answer: Any, due: float) -> Any:
        del due
        return replies.parsed(answer.content or b"")

    def _known(self, generation: str | None) -> None:
        """An answer names a published generation, or it is mixed up."""
        if generation is None or generation in self.shared.generations:
            return
        with self.client.get("/v1/generations", name="generations", catch_response=True) as answer:
            listed = replies.parsed(answer.content or b"").get("generations", [])
            answer.success()
        if generation not in listed:
            raise Wrong(f"the answer names the generation {generation!r}, which is not published")
        self.shared.generations.add(generation)

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────

    @property
    def reader(self) -> str:
        return self.shared.ids.readers[self._readers.draw(self.random)]

    @property
    def writer(self) -> str:
        return self.shared.ids.writers[self._writers.draw(self.random)]

    @property
    def item(self) -> str:
        return self.shared.ids.items[self._items.draw(self.random)]


def elapsed_ms(since: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return (time.perf_counter() - since) * 1000


# ── kinds of calls ───────────────────────────────────────────────────────────────────────────────


class Recommend(Caller):
    """What a user should see next."""

    kind, weight = "recommend", 60

    def call(self, due: float) -> None:
        self.ask(due, "POST", "/v1/recommendations", json={"user_id": self.reader})


class Evidence(Caller):
    """The same with every past event's share, which must sum to the score."""

    kind, weight = "evidence", 30

    def call(self, due: float) -> None:
        body = {"user_id": self.reader, "evidence": True}
        self.ask(due, "POST", "/v1/recommendations", json=body)

    def judge(self, read: dict[str, Any]) -> Told:
        return replies.ranking(read, evidence=True)


class Session(Caller):
    """A visitor without a name: the last few items alone."""

    kind, weight = "session", 20

    def call(self, due: float) -> None:
        seen = [self.item for _ in range(self.random.randint(1, 8))]
        self.ask(due, "POST", "/v1/recommendations", json={"session": seen})


class Similar(Caller):
    """Items near an item."""

    kind, weight = "similar", 30

    def call(self, due: float) -> None:
        self.ask(due, "GET", f"/v1/items/{quote(self.item, safe='')}/similar")


class Search(Caller):
    """Texts: half of them popular ones, half never asked before."""

    kind, weight = "search", 30

    def call(self, due: float) -> None:
        titles = self.shared.ids.titles
        query = titles[self._items.draw(self.random) % len(titles)]
        if self.random.random() < NEW_TEXTS:
            query = f"{self.random.choice(titles)} {self.random.getrandbits(32):x}"
        self.ask(due, "POST", "/v1/search", json={"query": query})


class Write(Caller):
    """One to five events; one call in ten is sent twice, and must count once."""

    kind, weight = "events", 26

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._sent_last: list[dict[str, str]] = []

    def call(self, due: float) -> None:
        if not self._sent_last or self.random.random() >= RETRIED:
            self._sent_last = [
                event(self.writer, self.item, uuid4().hex) for _ in range(self.random.randint(1, 5))
            ]
        self.ask(due, "POST", "/v1/events", json={"events": self._sent_last})

    def judge(self, read: dict[str, Any]) -> Told:
        return replies.stored(read)


class Forget(Caller):
    """A made user asks to be forgotten."""

    kind, weight = "forget", 2

    def call(self, due: float) -> None:
        self.ask(due, "DELETE", f"/v1/users/{quote(self.writer, safe='')}")

    def judge(self, read: dict[str, Any]) -> Told:
        return replies.erased(read)


class Stream(Caller):
    """A recommendation whose reason is written by the language model while it is read."""

    kind, weight = "stream", 2

    def call(self, due: float) -> None:
        body = {"user_id": self.reader, "limit": 1, "explain": "llm"}
        self.ask(due, "POST", "/v1/recommendations", json=body, headers=STREAM, stream=True)

    def read(self, answer: Any, due: float) -> Any:
        """The whole stream; when its first message came is written down as a kind of its own."""
        told: list[tuple[str, dict[str, Any]]] = []
        for message in replies.messages(iter(lambda: answer.stream.readline(b"\n"), b"")):
            if not told:
                self.shared.ledger.answered("stream, first", elapsed_ms(due))
            told.append(message)
        return told

    def judge(self, read: Any) -> Told:
        return replies.stream(read)


class Noop(Caller):
    """The application of `noop.py`: what HTTP, the proxy and a replica cost by themselves."""

    kind, weight = "no-op", 200

    def call(self, due: float) -> None:
        self.ask(due, "GET", "/noop/")

    def judge(self, read: dict[str, Any]) -> Told:
        if read != {"ok": True}:
            raise Wrong("the no-op says something else")
        return Told()
