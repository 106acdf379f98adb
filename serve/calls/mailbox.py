"""Questions to one shard in, shared calls out: what arrives during a call goes with the next."""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from llmrec_ray.errors import Overloaded, Unavailable
from serve.calls.questions import Question

log = logging.getLogger("ray.serve")

A = TypeVar("A")
Send = Callable[[Sequence[Question[object]]], Awaitable[list[object]]]

LANES = 2  # calls in flight at once: one slow call must not hold up everything behind it


@dataclass(frozen=True, slots=True)
class Sharing:
    """How long a question waits, how many share a call, and how many may wait."""

    deadline_s: float
    shared: int
    pending: int


class Mailbox:
    """Asks one shard; at most `pending` questions wait, each for `deadline_s` seconds.

    While `runs` says that no replica is there, nothing waits for one.
    """

    def __init__(
        self, send: Send, sharing: Sharing, *, runs: Callable[[], bool] = lambda: True
    ) -> None:
        self._send = send
        self._runs = runs
        self._sharing = sharing
        self._waiting: deque[tuple[Question[object], asyncio.Future[object]]] = deque()
        self._lanes: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question[A]) -> A:
        """The shard's answer; raises what it answered with, `Unavailable` and `Overloaded`."""
        if not self._runs():
            raise Unavailable("no replica of the shard runs now.")
        if len(self._waiting) >= self._sharing.pending:
            raise Overloaded("too many requests wait for a shard; try again shortly.")
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, reply))
        self._open_lane()
        try:
            async with asyncio.timeout(self._sharing.deadline_s):
                found = await reply
        except TimeoutError as cause:
            raise Unavailable("the shard did not answer before the deadline.") from cause
        if isinstance(found, Exception):
            raise found
        return cast(A, found)

    def _open_lane(self) -> None:
        if len(self._lanes) >= LANES:
            return
        # A call serves several requests, so it must not be cancelled with the one that happened to
        # start it: Serve finds the children of a request through the context.
        lane = asyncio.get_running_loop().create_task(self._drain(), context=contextvars.Context())
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    async def _drain(self) -> None:
        while batch := self._take():
            replies = await self._call([question for question, _ in batch])
            for (_, reply), found in zip(batch, replies, strict=True):
                if not reply.done():
                    reply.set_result(found)

    def _take(self) -> list[tuple[Question[object], asyncio.Future[object]]]:
        """The next questions that somebody still waits for."""
        batch: list[tuple[Question[object], asyncio.Future[object]]] = []
        while self._waiting and len(batch) < self._sharing.shared:
            question, reply = self._waiting.popleft()
            if not reply.done():
                batch.append((question, reply))
        return batch

    async def _call(self, questions: Sequence[Question[object]]) -> list[object]:
        try:
            async with asyncio.timeout(self._sharing.deadline_s):
                return await self._send(questions)
        except Exception as error:  # noqa: BLE001 whatever is wrong, the shard is missing
            log.warning("shard_call_failed error=%s", type(error).__name__)
            return [Unavailable(f"the shard does not answer ({type(error).__name__}).")] * len(
                questions
            )
