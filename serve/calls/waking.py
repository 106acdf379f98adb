"""A deployment without replicas in, one call that waits for it out, so that Serve sees a demand."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("ray.serve")

WAKE_S = 30.0
"""Serve hears of a call to nobody at once, and again of what still waits every ten seconds."""


class Waker:
    """Calls in the background, for `within_s` seconds and once at a time; nobody waits for it."""

    def __init__(self, call: Callable[[], Awaitable[object]], *, within_s: float = WAKE_S) -> None:
        self._call = call
        self._within_s = within_s
        self._calling: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        if self._calling is None or self._calling.done():
            # Serve finds the children of a request through the context, and cancels them with it.
            self._calling = asyncio.get_running_loop().create_task(
                self._wake(), context=contextvars.Context()
            )

    async def _wake(self) -> None:
        try:
            async with asyncio.timeout(self._within_s):
                await self._call()
        except Exception as error:  # noqa: BLE001 the next request that finds nobody calls again
            log.info("wake_up_unanswered error=%s", type(error).__name__)
