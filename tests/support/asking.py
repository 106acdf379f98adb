"""Clients of the HTTP service in threads: what they are to ask in, what they were answered out."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle

import httpx

Ask = Callable[[httpx.Client], httpx.Response]


@dataclass
class Seen:
    """Answers by kind of request, status and `degraded`; errors of the connection by their name."""

    answers: Counter[tuple[str, int, tuple[str, ...]]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list[str])

    def total(self) -> int:
        return self.answers.total()

    def kinds(self, kind: str) -> Counter[tuple[int, tuple[str, ...]]]:
        """What was answered to one kind of request."""
        found: Counter[tuple[int, tuple[str, ...]]] = Counter()
        for (name, status, degraded), count in self.answers.items():
            if name == kind:
                found[status, degraded] += count
        return found

    def failed(self) -> list[str]:
        """Everything but a 200, in words."""
        unwell = [
            f"{count} × {status} to {kind}"
            for (kind, status, _), count in self.answers.items()
            if status != 200
        ]
        return unwell + self.broken

    def said(self) -> str:
        """The counts in one line."""
        parts = [
            f"{kind} {count} × {status}{' degraded ' + '+'.join(degraded) if degraded else ''}"
            for (kind, status, degraded), count in sorted(self.answers.items())
        ]
        return "; ".join(parts + self.broken)


@contextmanager
def asking(
    url: str, asks: Mapping[str, Ask], *, clients: int = 2, pause_s: float = 0.0
) -> Iterator[Seen]:
    """Clients that go through the asks in turn, for as long as the block runs."""
    seen, done = Seen(), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for kind, ask_one in cycle(asks.items()):
                if done.wait(pause_s):
                    return
                try:
                    answer = ask_one(client)
                except httpx.HTTPError as error:
                    seen.broken.append(f"{kind}: {error!r}")
                else:
                    seen.answers[kind, answer.status_code, _degraded(answer)] += 1

    running = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in running:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in running:
            thread.join()


def _degraded(answer: httpx.Response) -> tuple[str, ...]:
    return tuple(answer.json().get("degraded", ())) if answer.status_code == 200 else ()
