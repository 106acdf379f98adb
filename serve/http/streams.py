"""Named messages in, a `text/event-stream` out, with heartbeats; it ends when the client leaves."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 5.0


@dataclass(frozen=True, slots=True)
class Said:
    """One server-sent event: its name, and its data as JSON."""

    event: str
    data: BaseModel

    def encode(self) -> bytes:
        body = self.data.model_dump_json(exclude_none=True)
        return f"event: {self.event}\ndata: {body}\n\n".encode()


class EventStream(Response):
    """Sends messages as they come; a client that leaves cancels and closes `messages`."""

    media_type = MEDIA_TYPE

    def __init__(
        self, messages: AsyncGenerator[Said, None], heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._messages = messages
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        speaking = asyncio.create_task(self._speak(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({speaking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                speaking.result()
        finally:
            await _cancelled(speaking)
            await _cancelled(leaving)

    async def _speak(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with contextlib.aclosing(self._messages) as messages:
            while (said := await self._next(messages, send)) is not None:
                await send(_chunk(said.encode()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self, messages: AsyncGenerator[Said, None], send: Send) -> Said | None:
        """The next message, None at the end; comments meanwhile keep proxies from hanging up."""
        coming = asyncio.ensure_future(anext(messages, None))
        try:
            while not coming.done():
                await asyncio.wait({coming}, timeout=self._heartbeat_s)
                if not coming.done():
                    await send(_chunk(b": waiting\n\n"))
            return coming.result()
        finally:
            await _cancelled(coming)


def _chunk(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _left(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


def wanted(accept: str) -> bool:
    """Whether an Accept header asks for a stream."""
    return any(part.split(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))
