"""Deployments without a replica: nobody waits for one, and everybody asks again once it is back."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from llmrec_ray.errors import EmbedderUnavailable, GeneratorUnavailable, Unavailable
from llmrec_ray.ports import Prompt
from llmrec_ray.types import Float32s
from serve.calls import questions
from serve.calls.generation import PoolGenerator
from serve.calls.handles import PoolEmbedder
from serve.calls.mailbox import Mailbox, Sharing
from serve.calls.questions import Question
from serve.calls.waking import Waker

NEVER = 3600.0


class Running:
    """Whether a replica runs, as the watch would say."""

    def __init__(self, *, runs: bool = False) -> None:
        self.runs = runs

    def __call__(self) -> bool:
        return self.runs


async def test_a_shard_without_a_replica_is_missing_at_once() -> None:
    async def send(_: Sequence[Question[object]]) -> list[object]:
        await asyncio.Event().wait()
        return []

    mailbox = Mailbox(send, Sharing(NEVER, 32, 100), runs=Running())
    with pytest.raises(Unavailable, match="no replica"):
        await mailbox.ask(questions.Lookup("g", ("a",)))


async def test_a_text_is_refused_at_once_without_an_embedder_unless_it_is_remembered() -> None:
    running = Running(runs=True)

    async def call(_: str) -> Float32s:
        return np.ones(3, np.float32)

    embedder = PoolEmbedder(call, deadline_s=NEVER, cached=10, runs=running)
    await embedder.embed("known")
    running.runs = False
    assert (await embedder.embed("known")).tolist() == [1, 1, 1]
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed("new")


async def test_nothing_is_asked_of_a_generator_without_a_replica() -> None:
    def call(_: Prompt) -> AsyncIterator[str]:
        raise AssertionError("asked")

    generator = PoolGenerator(call, runs=Running())
    with pytest.raises(GeneratorUnavailable):
        await anext(generator.generate(Prompt("", "", "", 0, 1)))


async def test_a_generator_that_is_asked_for_and_absent_is_called_for() -> None:
    calls = 0

    def wake() -> None:
        nonlocal calls
        calls += 1

    def call(_: Prompt) -> AsyncIterator[str]:
        raise AssertionError("asked")

    generator = PoolGenerator(call, runs=Running(), wake=wake)
    with pytest.raises(GeneratorUnavailable):
        await anext(generator.generate(Prompt("", "", "", 0, 1)))
    assert calls == 1


async def test_one_call_at_a_time_wakes_and_outlives_the_request_that_made_it() -> None:
    calls, there = 0, asyncio.Event()

    async def call() -> str:
        nonlocal calls
        calls += 1
        await there.wait()
        return "a model"

    wake = Waker(call, within_s=NEVER)

    async def request() -> None:
        wake()
        wake()

    await asyncio.create_task(request())
    await asyncio.sleep(0)
    wake()
    assert calls == 1
    there.set()
    await _ended(wake)
    wake()
    await asyncio.sleep(0)
    assert calls == 2


async def test_a_wake_up_ends_in_time_and_its_failure_is_nobodys() -> None:
    cancelled = asyncio.Event()

    async def nobody() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def broken() -> None:
        raise ConnectionError

    stuck = Waker(nobody, within_s=0.01)
    stuck()
    await _ended(stuck)
    assert cancelled.is_set()
    failing = Waker(broken)
    failing()
    await _ended(failing)


async def _ended(waker: Waker) -> None:
    assert waker._calling is not None
    await waker._calling
