"""Too many requests at once: as many as fit are answered, the rest hear so at once."""

import asyncio
from collections import Counter

from starlette.types import Message, Receive, Scope, Send

from serve.http.crowd import Crowd

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/v1/search", "headers": []}


class Slow:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = asyncio.Event()
        self.inside = self.most = 0

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.inside += 1
        self.entered.set()
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.inside -= 1


async def ask(app: Crowd, path: str = "/v1/search") -> list[Message]:
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    await app({**SCOPE, "path": path}, receive, send)
    return told


async def test_of_ten_thousand_at_once_as_many_as_fit_are_answered() -> None:
    slow = Slow()
    app = Crowd(slow, most=100)
    asked = [asyncio.create_task(ask(app)) for _ in range(10_000)]
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    while len(waiting) > 100:
        more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert {task.result()[0]["status"] for task in done} == {429}
    assert all((b"retry-after", b"1") in task.result()[0]["headers"] for task in done)
    slow.open.set()
    await asyncio.gather(*waiting)
    assert Counter(task.result()[0]["status"] for task in asked) == {429: 9_900, 200: 100}
    assert slow.most == 100


async def test_when_one_leaves_the_next_comes_in() -> None:
    slow = Slow()
    app = Crowd(slow, most=1)
    gone = asyncio.create_task(ask(app))
    await slow.entered.wait()
    gone.cancel()
    await asyncio.wait([gone])
    slow.open.set()
    assert (await ask(app))[0]["status"] == 200


async def test_probes_are_answered_in_any_crowd() -> None:
    slow = Slow()
    app = Crowd(slow, most=1)
    first = asyncio.create_task(ask(app))
    await slow.entered.wait()
    assert (await ask(app))[0]["status"] == 429
    slow.entered.clear()
    probe = asyncio.create_task(ask(app, "/readyz"))
    await slow.entered.wait()
    slow.open.set()
    assert (await probe)[0]["status"] == 200
    await first
