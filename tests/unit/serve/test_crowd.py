"""Too many requests at once: as many as fit are answered, the rest hear so at once."""

import asyncio
from collections import Counter

from starlette.types import Message, Receive, Scope, Send

from serve.http.crowd import Crowd, arriving
from serve.http.problems import Problem

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


class Receiving:
    """An application that waits for its body, for as long as it takes."""

    def __init__(self, seconds: float = 60) -> None:
        self.seconds = seconds

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        status = 200
        try:
            async with arriving(self.seconds):
                await receive()
        except TimeoutError:
            status = 408
        except Problem:
            status = 429
        await send({"type": "http.response.start", "status": status, "headers": []})


class Sender:
    """A client whose body comes when it is let."""

    def __init__(self, app: Crowd) -> None:
        self.begun = asyncio.Event()
        self.ready = asyncio.Event()
        self.told: list[Message] = []
        self.asking = asyncio.ensure_future(
            app({**SCOPE, "method": "POST"}, self.receive, self.send)
        )

    async def receive(self) -> Message:
        self.begun.set()
        await self.ready.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        self.told.append(message)

    async def status(self) -> int:
        await self.asking
        return self.told[0]["status"]


async def begun(app: Crowd) -> Sender:
    sender = Sender(app)
    await sender.begun.wait()
    return sender


async def test_bodies_on_their_way_keep_nobody_out() -> None:
    working = Slow()
    receiving = Receiving()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (receiving if scope["method"] == "POST" else working)(scope, receive, send)

    crowd = Crowd(app, most=3)
    slow = [await begun(crowd) for _ in range(3)]
    working.open.set()
    assert (await ask(crowd))[0]["status"] == 200
    for sender in slow:
        sender.ready.set()
    assert [await sender.status() for sender in slow] == [200] * 3


async def test_one_body_too_many_ends_the_oldest() -> None:
    app = Crowd(Receiving(), most=2)
    slow = [await begun(app) for _ in range(5)]
    for sender in slow[-2:]:
        sender.ready.set()
    assert [await sender.status() for sender in slow] == [408, 408, 408, 200, 200]


async def test_a_body_that_does_not_come_is_given_up() -> None:
    sender = await begun(Crowd(Receiving(seconds=0.001), most=1))
    assert await sender.status() == 408


async def test_a_body_that_comes_into_a_full_crowd_is_refused_and_leaves_no_trace() -> None:
    slow = Slow()
    late = Receiving()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (late if scope["method"] == "POST" else slow)(scope, receive, send)

    full = Crowd(app, most=1)
    sender = await begun(full)
    first = asyncio.create_task(ask(full))
    await slow.entered.wait()
    sender.ready.set()
    assert await sender.status() == 429
    slow.open.set()
    assert (await first)[0]["status"] == 200
    assert (await ask(full))[0]["status"] == 200
