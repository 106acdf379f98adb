"""Several streams in, one out, in the order in which their values come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def interleaved(streams: Sequence[AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    """Values of all streams as they come; leaving early, or one failing, stops every stream."""
    arrived: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue()

    async def forward(stream: AsyncIterator[T]) -> None:
        try:
            async for value in stream:
                arrived.put_nowait((value,))
            arrived.put_nowait(None)
        except Exception as failure:  # noqa: BLE001 raised again where the values are read
            arrived.put_nowait(failure)

    tasks = [asyncio.create_task(forward(stream)) for stream in streams]
    running = len(tasks)
    try:
        while running:
            match await arrived.get():
                case None:
                    running -= 1
                case Exception() as failure:
                    raise failure
                case (value,):
                    yield value
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
