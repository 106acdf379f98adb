import asyncio
from collections.abc import AsyncGenerator

import pytest

from llmrec_ray.errors import GeneratorUnavailable
from llmrec_ray.explain.explainer import Explainer, Piece
from llmrec_ray.explain.phrasing import phrases
from llmrec_ray.explain.prompt import CHARS_A_TOKEN
from llmrec_ray.explain.template import render
from llmrec_ray.ports import Prompt
from llmrec_ray.types import Explanation
from tests.support.explaining import HEAT, facts, samples, share

FACTS = facts(HEAT, share("casino"))
SPOKEN = min(samples(phrases(FACTS, seed="1", room=int(64 * CHARS_A_TOKEN))))
TEMPLATE = Explanation("heat", render(FACTS), "template")


class Speaks:
    """Says given pieces, then waits, fails or ends; counts what was started and closed."""

    def __init__(self, *pieces: str, then: str = "end") -> None:
        self.pieces, self.then = pieces, then
        self.running = 0
        self.waits = asyncio.Event()
        self.asked: list[Prompt] = []

    async def generate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        self.asked.append(prompt)
        self.running += 1
        try:
            for piece in self.pieces:
                yield piece
            if self.then == "wait":
                self.waits.set()
                await asyncio.Event().wait()
            if self.then == "fail":
                raise GeneratorUnavailable("gone")
        finally:
            self.running -= 1


def explainer(generator: Speaks | None, deadline_s: float = 5.0) -> Explainer:
    return Explainer(generator, deadline_s=deadline_s, max_tokens=64)


async def test_a_good_model_speaks_in_pieces() -> None:
    generator = Speaks(SPOKEN[:9], SPOKEN[9:])
    said = [piece async for piece in explainer(generator).stream(FACTS, how="llm", seed=1)]
    assert said == [
        Piece("heat", SPOKEN[:9]),
        Piece("heat", SPOKEN[9:]),
        Explanation("heat", SPOKEN, "llm"),
    ]
    assert generator.running == 0


@pytest.mark.parametrize(
    "generator",
    [
        None,
        Speaks(),
        Speaks(""),
        Speaks(SPOKEN[:-1]),
        Speaks(SPOKEN, " And more."),
        Speaks("Casino is a Disney film."),
        Speaks(SPOKEN[:5], then="fail"),
        Speaks(then="fail"),
    ],
    ids=["no model", "silent", "empty", "cut off", "too much", "invented", "breaks", "down"],
)
async def test_without_a_whole_true_sentence_the_template_speaks(generator: Speaks | None) -> None:
    assert await explainer(generator).explain(FACTS, how="llm", seed=1) == TEMPLATE


async def test_a_late_model_is_cancelled_and_the_template_speaks() -> None:
    generator = Speaks(SPOKEN[:5], then="wait")
    assert await explainer(generator, 0.01).explain(FACTS, how="llm", seed=1) == TEMPLATE
    assert generator.running == 0


async def test_the_template_is_asked_for_without_a_model() -> None:
    generator = Speaks(SPOKEN)
    said = [piece async for piece in explainer(generator).stream(FACTS, how="template", seed=1)]
    assert said == [Piece("heat", TEMPLATE.text), TEMPLATE]
    assert generator.asked == []


async def test_cancelling_the_caller_cancels_the_generation() -> None:
    generator = Speaks(SPOKEN[:5], then="wait")
    task = asyncio.create_task(explainer(generator).explain(FACTS, how="llm", seed=1))
    await generator.waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert generator.running == 0


async def test_closing_the_stream_cancels_the_generation() -> None:
    generator = Speaks(SPOKEN[:5], then="wait")
    stream = explainer(generator).stream(FACTS, how="llm", seed=1)
    assert await anext(stream) == Piece("heat", SPOKEN[:5])
    await stream.aclose()
    assert generator.running == 0


async def test_an_error_of_a_stranger_is_not_swallowed() -> None:
    class Broken:
        async def generate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
            raise ZeroDivisionError(prompt.seed)
            yield ""

    with pytest.raises(ZeroDivisionError):
        await Explainer(Broken()).explain(FACTS, how="llm", seed=1)


@pytest.mark.parametrize(
    ("generator", "why"),
    [
        (None, "absent"),
        (Speaks("Casino is a Disney film."), "rejected"),
        (Speaks(then="fail"), "unavailable"),
        (Speaks(then="wait"), "deadline"),
        (Speaks(SPOKEN), None),
    ],
)
async def test_why_the_template_spoke_is_told(generator: Speaks | None, why: str | None) -> None:
    told: list[str | None] = []
    one = Explainer(generator, deadline_s=0.01, told=lambda _, fallback: told.append(fallback))
    await one.explain(FACTS, how="llm", seed=1)
    await one.explain(FACTS, how="template", seed=1)
    assert told == [why, None]
