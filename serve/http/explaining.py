"""An answer with evidence in, its explanations out: within the answer, or as a stream."""

import contextlib
import time
from collections.abc import AsyncGenerator

from llmrec_ray.online.recommender import Recommender
from llmrec_ray.timing import running, stage
from llmrec_ray.types import Explanation, Recommendations
from serve.http import answers, problems
from serve.http.messages import Explain
from serve.http.middleware import request_id
from serve.http.streams import Said
from serve.observe.requests import note


async def explain(
    recommender: Recommender,
    found: Recommendations,
    shown: answers.RecommendationsAnswer,
    how: Explain,
    *,
    most: int,
) -> None:
    """Put the explanations of the first `most` items into the answer."""
    if how == "none":
        return
    items = {item.item_id: item for item in shown.items}
    said = recommender.explain(found, how=how, limit=most)
    with stage("explain"):
        async with contextlib.aclosing(said):
            async for part in said:
                if isinstance(part, Explanation):
                    items[part.item_id].explanation = answers.ExplanationAnswer(
                        text=part.text, source=part.source
                    )
                    _note_fallback(shown.degraded, how, part)


async def told(
    recommender: Recommender,
    found: Recommendations,
    shown: answers.RecommendationsAnswer,
    how: Explain,
    *,
    most: int,
    since: float,
) -> AsyncGenerator[Said, None]:
    """The answer at once, then the explanations as they are spoken."""
    yield Said("recommendations", shown)
    degraded = list(shown.degraded)
    try:
        if how != "none":
            said = recommender.explain(found, how=how, limit=most)
            with stage("explain"):
                async with contextlib.aclosing(said):
                    async for part in said:
                        if isinstance(part, Explanation):
                            _note_fallback(degraded, how, part)
                            yield Said("explanation", answers.item_explanation(part))
                        else:
                            piece = answers.PieceAnswer(item_id=part.item_id, text=part.text)
                            yield Said("piece", piece)
    except Exception as error:  # noqa: BLE001 the stream has begun: no status can tell it any more
        yield Said("error", problems.answer(problems.problem_of(error), request_id.get()))
        return
    note(generation=found.generation, degraded=degraded)
    yield Said(
        "done",
        answers.DoneAnswer(degraded=degraded, took_ms=elapsed_ms(since), stages_ms=_stages_ms()),
    )


def _stages_ms() -> dict[str, float]:
    """What `Server-Timing` says of other answers: a stream's headers leave before it is spoken."""
    stages = running()
    spent = stages.spent if stages else {}
    return {name: round(seconds * 1000, 1) for name, seconds in spent.items()}


def _note_fallback(degraded: list[str], how: Explain, said: Explanation) -> None:
    if how == "llm" and said.source == "template" and "explain" not in degraded:
        degraded.append("explain")


def elapsed_ms(since: float) -> float:
    """Milliseconds from a reading of `time.perf_counter` until now."""
    return round((time.perf_counter() - since) * 1000, 3)
