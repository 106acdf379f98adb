"""What the library answers in, the JSON that HTTP answers with out."""

from typing import Literal

from pydantic import BaseModel

from llmrec_ray.online.intake import Learned
from llmrec_ray.online.replay import Replay
from llmrec_ray.types import Explanation, Item, Recommendations, Recommended


class ShareAnswer(BaseModel):
    """What one past event adds to the score; the query text counts as an event of type `query`."""

    event_id: str
    item_id: str | None = None
    title: str | None = None
    type: str
    value: float | None = None
    share: float


class ExplanationAnswer(BaseModel):
    """Why, in words, and who said it."""

    text: str
    source: Literal["llm", "template"]


class RecommendedAnswer(BaseModel):
    """One item; with evidence, score = Σ share + prior."""

    item_id: str
    title: str
    score: float
    rank: int
    evidence: list[ShareAnswer] | None = None
    prior: float | None = None
    explanation: ExplanationAnswer | None = None


class CoverageAnswer(BaseModel):
    """How many shards answered."""

    shards_ok: int
    shards_total: int


class RankedAnswer(BaseModel):
    """Ranked items and what they were computed from.

    `delta_seq`: every shard that answered had applied the live changes of items up to this one.
    """

    recommendation_id: str
    generation: str
    delta_seq: int
    user_version: int | None = None
    items: list[RecommendedAnswer]
    coverage: CoverageAnswer
    degraded: list[str]


class RecommendationsAnswer(RankedAnswer):
    """Ranked items, what they were computed from, and how long that took."""

    took_ms: float


class ReplayAnswer(BaseModel):
    """A stored answer, the same question answered again, and whether the items are the same.

    `identical` compares ids, ranks, titles, scores and evidence, bit for bit; `reason` is there
    where live items changed between the two.
    """

    identical: bool
    reason: str | None = None
    stored: RankedAnswer
    again: RankedAnswer
    took_ms: float


class ItemAnswer(BaseModel):
    """One item of the catalogue, fields in their original scale."""

    item_id: str
    title: str
    fields: dict[str, str | float | list[str]]
    generation: str


class RejectedAnswer(BaseModel):
    """An event that was not stored, by its place in the batch, and why."""

    index: int
    event_id: str
    code: str
    detail: str


class EventsAnswer(BaseModel):
    """What became of the events; the next answers see the versions named here."""

    accepted: int
    duplicates: int
    rejected: list[RejectedAnswer]
    user_versions: dict[str, int]


class GenerationsAnswer(BaseModel):
    """The published generations, and which of them answers."""

    current: str | None
    serving: str | None
    generations: list[str]


class ActivationAnswer(BaseModel):
    """A generation that was made current; replicas take it up within a few seconds."""

    generation: str
    number: int


class PieceAnswer(BaseModel):
    """The next piece of an item's explanation, as it is written."""

    item_id: str
    text: str


class ItemExplanation(ExplanationAnswer):
    """The whole explanation of an item."""

    item_id: str


class DoneAnswer(BaseModel):
    """The end of a stream; `stages_ms` says where the time went."""

    degraded: list[str]
    took_ms: float
    stages_ms: dict[str, float]


class AliveAnswer(BaseModel):
    """The process runs."""

    alive: bool


class ComponentAnswer(BaseModel):
    """One part of the service: what it has, and what it waits for."""

    name: str
    ready: bool
    has: str | None = None
    waits_for: str | None = None


class ReadyAnswer(BaseModel):
    """Whether requests can be answered, and the state of every part."""

    ready: bool
    generation: str | None = None
    components: list[ComponentAnswer]


class ErrorAt(BaseModel):
    """One thing that is wrong: a JSON pointer into the body, or a parameter's name."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemAnswer(BaseModel):
    """An RFC 9457 problem; `code` is stable and meant for programs."""

    type: str
    code: str
    title: str
    status: int
    detail: str
    errors: list[ErrorAt] | None = None
    request_id: str


def recommendations_answer(
    found: Recommendations, *, evidence: bool, took_ms: float
) -> RecommendationsAnswer:
    """The answer to a recommendation, with its evidence where that was asked for."""
    return RecommendationsAnswer(**dict(_ranked(found, evidence=evidence)), took_ms=took_ms)


def replay_answer(replay: Replay, *, took_ms: float) -> ReplayAnswer:
    """Both answers in full: evidence is there where it was asked for then."""
    return ReplayAnswer(
        identical=replay.identical,
        reason=replay.reason,
        stored=_ranked(replay.stored, evidence=True),
        again=_ranked(replay.again, evidence=True),
        took_ms=took_ms,
    )


def _ranked(found: Recommendations, *, evidence: bool) -> RankedAnswer:
    return RankedAnswer(
        recommendation_id=found.recommendation_id,
        generation=found.generation,
        delta_seq=found.coverage.delta_seq or 0,
        user_version=found.user_version,
        items=[_recommended(item, evidence=evidence) for item in found.items],
        coverage=CoverageAnswer(
            shards_ok=found.coverage.shards_ok, shards_total=found.coverage.shards_total
        ),
        degraded=list(found.degraded),
    )


def _recommended(item: Recommended, *, evidence: bool) -> RecommendedAnswer:
    shown = item.evidence if evidence else None
    return RecommendedAnswer(
        item_id=item.item_id,
        title=item.title,
        score=item.score,
        rank=item.rank,
        prior=shown.prior if shown else None,
        evidence=[
            ShareAnswer(
                event_id=share.event_id,
                item_id=share.item_id,
                title=share.title,
                type=share.type,
                value=share.value,
                share=share.share,
            )
            for share in shown.shares
        ]
        if shown
        else None,
    )


def item_answer(generation: str, item: Item) -> ItemAnswer:
    """The answer to a look at one item."""
    fields: dict[str, str | float | list[str]] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in item.fields.items()
    }
    return ItemAnswer(item_id=item.item_id, title=item.title, fields=fields, generation=generation)


def item_explanation(said: Explanation) -> ItemExplanation:
    """An item's whole explanation as a stream tells it."""
    return ItemExplanation(item_id=said.item_id, text=said.text, source=said.source)


def events_answer(learned: Learned) -> EventsAnswer:
    """The answer to a batch of events, with the ones that were not stored."""
    return EventsAnswer(
        accepted=learned.accepted,
        duplicates=learned.duplicates,
        rejected=[
            RejectedAnswer(index=one.index, event_id=one.event_id, code=one.code, detail=one.detail)
            for one in learned.rejected
        ],
        user_versions=learned.user_versions,
    )
