"""A call to a deployment in, its answer out; a second replica is asked where the first is slow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")

SHARE = 0.05  # of all calls, so that hedges do not feed an overload
BURST = 10.0


class Hedged(Generic[Q, R]):
    """Repeats a slow or failed call once on another replica; the first answer wins."""

    def __init__(
        self,
        call: Callable[[Q], Awaitable[R]],
        *,
        after_s: float,
        replicas: Callable[[], int],
    ) -> None:
        self._call = call
        self._after_s = after_s
        self._replicas = replicas
        self._budget = BURST

    async def __call__(self, question: Q) -> R:
        """Raises what the last call raised; the deadline is the caller's."""
        self._budget = min(BURST, self._budget + SHARE)
        if self._replicas() < 2:  # a task and a timer are not worth it where nobody else is
            return await self._call(question)
        first = self._launch(question)
        running = {first}
        try:
            await asyncio.wait(running, timeout=self._after_s)
            if self._worth_another(first):
                self._budget -= 1
                running.add(self._launch(question))
            return await _first_answer(running)
        finally:
            for task in running:
                task.cancel()

    def _launch(self, question: Q) -> asyncio.Task[R]:
        async def call() -> R:
            return await self._call(question)

        return asyncio.create_task(call())

    def _worth_another(self, first: asyncio.Task[R]) -> bool:
        answered = first.done() and not first.cancelled() and first.exception() is None
        return not answered and self._replicas() > 1 and self._budget >= 1


async def _first_answer(running: set[asyncio.Task[R]]) -> R:
    """The first answer; where every call fails, what one that failed last raised."""
    pending = running
    while True:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        answered = [task for task in done if task.exception() is None]
        if answered or not pending:
            return (answered or list(done))[0].result()
