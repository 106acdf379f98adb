"""Texts of concurrent calls in, one call of the work for a batch of them, to each caller its own.

Serve's own batches count calls. These have a budget, and who came first goes first: a long text is
not passed by again and again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

R = TypeVar("R")


class Batcher(Generic[R]):
    """Calls `work` with one batch after the other; what waits meanwhile is in the next."""

    def __init__(
        self,
        work: Callable[[list[str]], Awaitable[Sequence[R]]],
        *,
        cost: Callable[[str], int],
        budget: int,
        wait_s: float,
    ) -> None:
        """A batch costs at most `budget`, or is one text; it waits `wait_s` to be filled."""
        self._work, self._cost = work, cost
        self._budget, self._wait_s = budget, wait_s
        self._waiting: deque[tuple[str, asyncio.Future[R]]] = deque()
        self._cost_waiting = 0
        self._filled = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, text: str) -> R:
        """The work's answer for this text, or what the work of its batch raised."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, answer))
        self._cost_waiting += self._cost(text)
        if self._cost_waiting >= self._budget:
            self._filled.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._filled.wait()
            except TimeoutError:
                pass  # a batch that is not full goes all the same
            if batch := self._take():
                await self._answer(batch)

    def _take(self) -> list[tuple[str, asyncio.Future[R]]]:
        """The first that came and still wait for an answer, up to the budget."""
        batch: list[tuple[str, asyncio.Future[R]]] = []
        total = 0
        while self._waiting:
            text, answer = self._waiting[0]
            cost = self._cost(text)
            if batch and not answer.done() and total + cost > self._budget:
                break
            self._waiting.popleft()
            self._cost_waiting -= cost
            if not answer.done():  # its caller may be gone
                batch.append((text, answer))
                total += cost
        if self._cost_waiting < self._budget:
            self._filled.clear()
        return batch

    async def _answer(self, batch: list[tuple[str, asyncio.Future[R]]]) -> None:
        try:
            found = await self._work([text for text, _ in batch])
        except Exception as error:  # noqa: BLE001 it goes to those who asked
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), one in zip(batch, found, strict=True):
            if not answer.done():
                answer.set_result(one)
