"""Requests in, as many as a replica answers at once on to the application; 429 to the others.

Ray Serve bounds what reaches a replica (`max_ongoing_requests`, `max_queued_requests`) and answers
the rest in plain text; this bound holds under any server, and answers with a problem.

A request whose body is on its way is not being answered yet. As many bodies again may arrive at
once, and one more ends the oldest: a body takes milliseconds, unless its sender is slow or means to
be, and slow senders then crowd out each other and nobody else.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

from serve.http.middleware import request_id
from serve.http.problems import Problem, respond

PROBES = {"/livez", "/readyz"}
"""Never refused: a replica that is busy is not a replica that is dead."""


_around: ContextVar["Crowd | None"] = ContextVar("crowd", default=None)


class Crowd:
    """Counts the requests that are in flight, streams until their end."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most
        self._inside = 0
        self._bodies: dict[asyncio.Timeout, None] = {}  # the oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._inside >= self._most:
            await respond(self._full(), request_id.get())(scope, receive, send)
            return
        self._inside += 1
        _around.set(self)
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    @contextlib.asynccontextmanager
    async def arriving(self, seconds: float) -> AsyncGenerator[None]:
        """Outside while a body arrives, and back inside with it, where there is still room."""
        self._make_room()
        async with asyncio.timeout(seconds) as within:
            self._bodies[within] = None
            self._inside -= 1
            try:
                yield
            finally:
                self._inside += 1
                self._bodies.pop(within, None)
        if self._inside > self._most:
            raise self._full()

    def _make_room(self) -> None:
        if len(self._bodies) >= self._most:
            oldest = next(iter(self._bodies))
            del self._bodies[oldest]
            if not oldest.expired():
                oldest.reschedule(asyncio.get_running_loop().time())

    def _full(self) -> Problem:
        return Problem(
            "overloaded",
            f"{self._most} requests are being answered already; try again in a moment.",
        )


@contextlib.asynccontextmanager
async def arriving(seconds: float) -> AsyncGenerator[None]:
    """Around the reading of a body: `TimeoutError` where it does not come, `overloaded` where it
    finds no room when it has come."""
    crowd = _around.get()
    async with asyncio.timeout(seconds) if crowd is None else crowd.arriving(seconds):
        yield
