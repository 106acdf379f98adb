"""Facts in, an explanation out, as it is spoken: by a language model in time, or by template."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from llmrec_ray.errors import GeneratorUnavailable
from llmrec_ray.explain.evidence import Facts
from llmrec_ray.explain.prompt import prompt_of, says
from llmrec_ray.explain.template import render
from llmrec_ray.ports import Generator
from llmrec_ray.types import Explanation

log = logging.getLogger(__name__)

How = Literal["template", "llm"]
Fallback = Literal["deadline", "unavailable", "rejected", "absent"]
"""Why the template spoke where the language model was asked."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of an item's explanation while it is being spoken."""

    item_id: str
    text: str


def unheard(_: Explanation, __: Fallback | None) -> None:
    """Nobody wants to know."""


class Explainer:
    """Says why, from facts alone; without a generator, or with one that fails, by template.

    `evidence` is how many events an explanation may cite. An explanation that was asked of the
    language model and has `source="template"` is a degraded one; `told` hears of each, and why.
    """

    def __init__(
        self,
        generator: Generator | None,
        *,
        deadline_s: float = 6.0,
        max_tokens: int = 64,
        evidence: int = 2,
        told: Callable[[Explanation, Fallback | None], None] = unheard,
    ) -> None:
        self.evidence = evidence
        self._generator = generator
        self._deadline_s = deadline_s
        self._max_tokens = max_tokens
        self._told = told

    async def explain(self, facts: Facts, *, how: How, seed: int) -> Explanation:
        """The whole explanation; cancelling the caller cancels the generation."""
        async with aclosing(self.stream(facts, how=how, seed=seed)) as said:
            async for piece in said:
                if isinstance(piece, Explanation):
                    return piece
        raise AssertionError("a stream ends with its explanation")

    async def stream(
        self, facts: Facts, *, how: How, seed: int
    ) -> AsyncGenerator[Piece | Explanation, None]:
        """Pieces as they come, then the explanation; its text replaces the pieces where it differs.

        Closing the iterator cancels the generation.
        """
        fallback: Fallback | None = "absent" if how == "llm" else None
        if how == "llm" and self._generator is not None:
            spoken = ""
            failures: list[Fallback] = []
            speaking = self._speak(self._generator, facts, seed, failures)
            async with aclosing(speaking) as pieces:
                async for text in pieces:
                    spoken += text
                    yield Piece(facts.item_id, text)
            if says(spoken, facts, seed=seed, max_tokens=self._max_tokens):
                yield self._tell(Explanation(facts.item_id, spoken, "llm"), None)
                return
            fallback = failures[0] if failures else "rejected"
            log.warning("explanation_degraded", extra={"item": facts.item_id, "chars": len(spoken)})
        text = render(facts)
        yield Piece(facts.item_id, text)
        yield self._tell(Explanation(facts.item_id, text, "template"), fallback)

    def _tell(self, said: Explanation, fallback: Fallback | None) -> Explanation:
        self._told(said, fallback)
        return said

    async def _speak(
        self, generator: Generator, facts: Facts, seed: int, failures: list[Fallback]
    ) -> AsyncGenerator[str, None]:
        """What the language model says before the deadline; it ends early where the model fails."""
        prompt = prompt_of(facts, seed=seed, max_tokens=self._max_tokens)
        deadline = asyncio.get_running_loop().time() + self._deadline_s
        pieces = aiter(generator.generate(prompt))
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece
        except (TimeoutError, GeneratorUnavailable) as cause:
            failures.append("deadline" if isinstance(cause, TimeoutError) else "unavailable")
            log.warning("generator_failed", extra={"reason": failures[-1]})
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
