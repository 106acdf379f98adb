"""Questions that travel to a shard, many in one call, and the answers that come back in the same order."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from llmrec_ray.errors import LLMRecError, Unavailable
from llmrec_ray.types import (
    Candidate,
    Float32s,
    Float64s,
    Item,
    NearQuery,
    ScoreQuery,
    WeightedEvent,
)

log = logging.getLogger("ray.serve")

A = TypeVar("A", covariant=True)
Found = tuple[dict[str, Item], dict[str, Float32s]]


class Question(Generic[A]):
    """Something to ask one shard about one generation; `A` is the type of its answer."""

    __slots__ = ()
    generation: str


@dataclass(frozen=True, slots=True)
class Gather(Question[Float64s]):
    """Σ of the events' text vectors, float64 [dim]."""

    generation: str
    events: tuple[WeightedEvent, ...]


@dataclass(frozen=True, slots=True)
class Score(Question[Sequence[Candidate]]):
    """The shard's best candidates of an additive query."""

    generation: str
    query: ScoreQuery


@dataclass(frozen=True, slots=True)
class Near(Question[Sequence[Candidate]]):
    """The shard's nearest items to a vector."""

    generation: str
    query: NearQuery


@dataclass(frozen=True, slots=True)
class Shares(Question[Float64s]):
    """Text shares of the events, float64 [events, targets]."""

    generation: str
    events: tuple[WeightedEvent, ...]
    targets: Float32s


@dataclass(frozen=True, slots=True)
class Lookup(Question[Found]):
    """The items and their text vectors, of those ids that the shard owns."""

    generation: str
    item_ids: tuple[str, ...]


class Answering(Protocol):
    """What a shard can do (`llmrec_ray.shard.Shard`)."""

    def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Float64s: ...

    def score(self, generation: str, queries: Sequence[ScoreQuery]) -> list[list[Candidate]]: ...

    def near(self, generation: str, queries: Sequence[NearQuery]) -> list[list[Candidate]]: ...

    def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Float64s: ...

    def lookup(self, generation: str, item_ids: Sequence[str]) -> Found: ...


def answer(shard: Answering, questions: Sequence[Question[object]]) -> list[object]:
    """An answer or an error for each question; queries of one kind and generation are scored together."""
    answers: list[object] = [None] * len(questions)
    batches: dict[tuple[type, str], list[int]] = {}
    for position, question in enumerate(questions):
        match question:
            case Score() | Near():
                batches.setdefault((type(question), question.generation), []).append(position)
            case _:
                answers[position] = _guarded(lambda asked=question: _single(shard, asked))
    for (kind, generation), positions in batches.items():
        queries = [questions[position].query for position in positions]  # pyright: ignore
        ask = shard.score if kind is Score else shard.near
        found = _guarded(lambda ask=ask, g=generation, q=queries: ask(g, q))
        for place, position in enumerate(positions):
            answers[position] = found[place] if isinstance(found, list) else found
    return answers


def _single(shard: Answering, question: Question[object]) -> object:
    match question:
        case Gather(generation, events):
            return shard.gather(generation, events)
        case Shares(generation, events, targets):
            return shard.shares(generation, events, targets)
        case Lookup(generation, item_ids):
            return shard.lookup(generation, item_ids)
        case _:
            raise TypeError(f"a shard cannot answer {type(question).__name__}")


def _guarded(ask: Callable[[], object]) -> object:
    """The answer, or the error as a value: one bad question must not fail those that share its call."""
    try:
        return ask()
    except LLMRecError as error:
        return error
    except Exception:
        log.exception("shard_question_failed")
        return Unavailable("the shard failed on this question; its log has the reason.")
