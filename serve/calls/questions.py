"""Questions that travel to a shard, many in one call, and the answers in the same order."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from llmrec_ray.errors import GenerationMissing, LLMRecError, Unavailable
from llmrec_ray.pickling import by_values
from llmrec_ray.shard import Shard
from llmrec_ray.types import (
    Candidate,
    Float32s,
    Float64s,
    Item,
    ItemQuery,
    NearQuery,
    ScoreQuery,
    WeightedEvent,
)

log = logging.getLogger("ray.serve")

A_co = TypeVar("A_co", covariant=True)
Q = TypeVar("Q")
Found = tuple[dict[str, Item], dict[str, Float32s]]
Around = tuple[Float32s, Sequence[Candidate]]


class Question(Generic[A_co]):
    """Something to ask one shard about one generation; `A_co` is the type of its answer."""

    __slots__ = ()
    generation: str


@by_values
@dataclass(frozen=True, slots=True)
class Gather(Question[Float64s]):
    """Σ of the events' text vectors, float64 [dim]."""

    generation: str
    events: tuple[WeightedEvent, ...]


@by_values
@dataclass(frozen=True, slots=True)
class Score(Question[Sequence[Candidate]]):
    """The shard's best candidates of an additive query."""

    generation: str
    query: ScoreQuery


@by_values
@dataclass(frozen=True, slots=True)
class Near(Question[Sequence[Candidate]]):
    """The shard's nearest items to a vector."""

    generation: str
    query: NearQuery


@by_values
@dataclass(frozen=True, slots=True)
class NearItem(Question[Around | None]):
    """The vector of an item and the shard's nearest to it; None where the shard has no such item.

    Who owns the item answers what a lookup and a search would, in one call.
    """

    generation: str
    query: ItemQuery


@by_values
@dataclass(frozen=True, slots=True)
class Shares(Question[Float64s]):
    """Text shares of the events, float64 [events, targets]."""

    generation: str
    events: tuple[WeightedEvent, ...]
    targets: Float32s


@by_values
@dataclass(frozen=True, slots=True)
class Lookup(Question[Found]):
    """The items and their text vectors, of those ids that the shard owns."""

    generation: str
    item_ids: tuple[str, ...]


@by_values
@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and up to where the shard had applied the item log when it gave it."""

    answer: object
    delta_seq: int | None


class Answering(Protocol):
    """What a shard can do (`llmrec_ray.shard.Shard`)."""

    def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Float64s: ...

    def score(self, generation: str, queries: Sequence[ScoreQuery]) -> list[list[Candidate]]: ...

    def near(self, generation: str, queries: Sequence[NearQuery]) -> list[list[Candidate]]: ...

    def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Float64s: ...

    def lookup(self, generation: str, item_ids: Sequence[str]) -> Found: ...


def answer_now(shard: Shard, questions: Sequence[Question[object]]) -> list[object]:
    """Every answer from one state of the shard, each with its place in the item log."""
    still = shard.still()
    return [
        found
        if isinstance(found, LLMRecError)
        else Told(found, still.position(question.generation))
        for question, found in zip(questions, answer(still, questions), strict=True)
    ]


def answer(shard: Answering, questions: Sequence[Question[object]]) -> list[object]:
    """An answer or an error for each question; queries of one generation are scored together."""
    answers: list[object] = [None] * len(questions)
    scores: dict[str, list[tuple[int, ScoreQuery]]] = {}
    nears: dict[str, list[tuple[int, NearQuery]]] = {}
    items: dict[str, list[tuple[int, ItemQuery]]] = {}
    for position, question in enumerate(questions):
        match question:
            case Score(generation, query):
                scores.setdefault(generation, []).append((position, query))
            case Near(generation, query):
                nears.setdefault(generation, []).append((position, query))
            case NearItem(generation, query):
                items.setdefault(generation, []).append((position, query))
            case _:
                answers[position] = _guarded(partial(_single, shard, question))
    for generation, asked in scores.items():
        _fill(answers, asked, partial(shard.score, generation))
    for generation, asked in nears.items():
        _fill(answers, asked, partial(shard.near, generation))
    for generation, asked in items.items():
        _fill(answers, asked, partial(_near_items, shard, generation))
    return answers


def _near_items(
    shard: Answering, generation: str, queries: Sequence[ItemQuery]
) -> list[Around | None]:
    _, vectors = shard.lookup(generation, [query.item_id for query in queries])
    known = [query.at(vectors[query.item_id]) for query in queries if query.item_id in vectors]
    found = iter(shard.near(generation, known) if known else ())
    return [
        (vectors[query.item_id], next(found)) if query.item_id in vectors else None
        for query in queries
    ]


def _fill(
    answers: list[object],
    asked: Sequence[tuple[int, Q]],
    ask: Callable[[Sequence[Q]], Sequence[object]],
) -> None:
    """Ask for all queries at once; where one of them fails the call, each on its own."""
    queries = [query for _, query in asked]
    together = _guarded(partial(ask, queries))
    if isinstance(together, list):
        found: list[object] = together
    elif isinstance(together, GenerationMissing) or len(queries) == 1:
        found = [together] * len(queries)
    else:
        found = [_guarded(lambda query=query: ask([query])[0]) for query in queries]
    for (position, _), one in zip(asked, found, strict=True):
        answers[position] = one


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
    """The answer, or the error as a value: one bad question must not fail its neighbours."""
    try:
        return ask()
    except LLMRecError as error:
        return error
    except Exception:
        log.exception("shard_question_failed")
        return Unavailable("the shard failed on this question; its log has the reason.")
