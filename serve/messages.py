"""The HTTP messages: bodies checked on the way in, answers written on the way out."""

import math
from typing import Annotated, Literal, Self, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    RootModel,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmrec_ray.recommender import Learned
from llmrec_ray.types import (
    AllOf,
    AnyOf,
    Event,
    EventType,
    Explanation,
    Filter,
    Item,
    Metric,
    Not,
    Range,
    Recommendations,
    Recommended,
    RecommendRequest,
    Scope,
    SessionItem,
)
from serve.limits import AtMost, limits_of, no_control_characters, no_nul, not_blank

DEEPEST_FILTER = 16

Id = Annotated[str, Field(min_length=1), AtMost("id_chars"), AfterValidator(no_control_characters)]
Text = Annotated[
    str,
    Field(min_length=1),
    AtMost("text_chars"),
    AfterValidator(not_blank),
    AfterValidator(no_nul),
]
Limit = Annotated[int, Field(ge=1), AtMost("limit")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Ids = Annotated[list[Id], AtMost("ids")]
Explain = Literal["none", "template", "llm"]


def _scalar(value: object) -> str | float:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise PydanticCustomError("scalar", "must be a text or a finite number")


Scalar = Annotated[str | float, PlainValidator(_scalar, json_schema_input_type=str | float)]


class Message(BaseModel):
    """A request body: unknown names and values of another JSON type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


class Bounds(Message):
    """The ends of a range; at least one."""

    gte: Number | None = None
    gt: Number | None = None
    lte: Number | None = None
    lt: Number | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("range", "needs at least one of gte, gt, lte and lt")
        return self


class FieldFilter(Message):
    """One field compared: exactly one of `equals`, `any_of` and `range`."""

    field: Id
    equals: Scalar | None = None
    any_of: Annotated[list[Scalar], Field(min_length=1), AtMost("ids")] | None = None
    range: Bounds | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.equals, self.any_of, self.range)) != 1:
            raise PydanticCustomError("filter", "needs exactly one of equals, any_of and range")
        return self

    def to_filter(self) -> Filter:
        if self.range is not None:
            return Range(self.field, self.range.gte, self.range.gt, self.range.lte, self.range.lt)
        if self.any_of is not None:
            return AnyOf(self.field, tuple(self.any_of))
        return AnyOf(self.field, (cast(str | float, self.equals),))


class NotFilter(Message):
    """The inner filter does not hold."""

    inner: "FilterMessage" = Field(alias="not")

    def to_filter(self) -> Filter:
        return Not(self.inner.to_filter())


class AllFilter(Message):
    """Every inner filter holds."""

    inner: Annotated[list["FilterMessage"], Field(min_length=1), AtMost("filter_terms")] = Field(
        alias="all"
    )

    def to_filter(self) -> Filter:
        return AllOf(tuple(part.to_filter() for part in self.inner))


def _filter_kind(value: object) -> str:
    names = cast(dict[str, object], value) if isinstance(value, dict) else {}
    return "<not>" if "not" in names else "<all>" if "all" in names else "<field>"


FilterMessage = Annotated[
    Annotated[FieldFilter, Tag("<field>")]
    | Annotated[NotFilter, Tag("<not>")]
    | Annotated[AllFilter, Tag("<all>")],
    Discriminator(_filter_kind),
]


def _bounded(found: FieldFilter | NotFilter | AllFilter, info: ValidationInfo) -> object:
    terms, depth = _size(found)
    if terms > (most := limits_of(info).filter_terms):
        raise PydanticCustomError(
            "filter",
            "has {terms} parts; at most {most} are allowed",
            {"terms": terms, "most": most},
        )
    if depth > DEEPEST_FILTER:
        raise PydanticCustomError(
            "filter", "is nested more than {most} deep", {"most": DEEPEST_FILTER}
        )
    return found


def _size(found: FieldFilter | NotFilter | AllFilter) -> tuple[int, int]:
    """How many parts a filter has, and how deep it is nested."""
    match found:
        case NotFilter(inner=inner):
            terms, depth = _size(inner)
            return terms + 1, depth + 1
        case AllFilter(inner=parts):
            sizes = [_size(part) for part in parts]
            return 1 + sum(terms for terms, _ in sizes), 1 + max(depth for _, depth in sizes)
        case _:
            return 1, 1


TopFilter = Annotated[FilterMessage, AfterValidator(_bounded)]


# ── what is asked ────────────────────────────────────────────────────────────────────────────────


class SessionEntry(Message):
    """An item of a session; a negative weight pushes away. A bare id is an entry of weight 1."""

    item_id: Id
    weight: Number = 1.0


def _entry(value: object) -> object:
    return {"item_id": value} if isinstance(value, str) else value


Session = Annotated[
    list[
        Annotated[SessionEntry, BeforeValidator(_entry, json_schema_input_type=str | SessionEntry)]
    ],
    AtMost("session"),
]


class RecommendationsRequest(Message):
    """Who asks (at least one of `user_id`, `session` and `text`), and for what."""

    user_id: Id | None = None
    session: Session = []
    text: Text | None = None
    limit: Limit = 10
    filter: TopFilter | None = None
    exclude_ids: Ids = []
    exclude_seen: bool = True
    evidence: bool = False
    explain: Explain = "none"

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if self.user_id is None and not self.session and self.text is None:
            raise PydanticCustomError("nobody", "needs at least one of user_id, session and text")
        return self

    def to_request(self) -> RecommendRequest:
        """The library's request; an explanation is made of evidence, so it asks for that too."""
        return RecommendRequest(
            user_id=self.user_id,
            session=tuple(SessionItem(entry.item_id, entry.weight) for entry in self.session),
            text=self.text,
            limit=self.limit,
            filter=self.filter.to_filter() if self.filter else None,
            exclude_ids=frozenset(self.exclude_ids),
            exclude_seen=self.exclude_seen,
            evidence=self.evidence or self.explain != "none",
        )


class SearchRequest(Message):
    """A text to search for, by the meaning of the items' texts."""

    query: Text
    limit: Limit = 10
    filter: TopFilter | None = None
    metric: Metric = "cosine"

    def to_scope(self) -> Scope:
        return Scope(self.limit, self.filter.to_filter() if self.filter else None)


class EventMessage(Message):
    """What a user did to an item; the same event id with the same body counts once."""

    event_id: Id
    user_id: Id
    item_id: Id
    type: EventType
    time: AwareDatetime
    value: Number | None = Field(None, description="The rating; only with type rating.")
    text: Text | None = Field(None, description="The review; only with type review.")
    recommendation_id: Id | None = None

    @model_validator(mode="after")
    def _fits_the_type(self) -> Self:
        for name, kind in (("value", "rating"), ("text", "review")):
            if (getattr(self, name) is not None) != (self.type == kind):
                raise PydanticCustomError(
                    "event",
                    "{name} goes with an event of type {kind}, and only with that",
                    {"name": name, "kind": kind},
                )
        return self

    def to_event(self) -> Event:
        return Event(
            event_id=self.event_id,
            user_id=self.user_id,
            item_id=self.item_id,
            type=self.type,
            time=self.time,
            value=self.value,
            text=self.text,
            recommendation_id=self.recommendation_id,
        )


class EventBatch(Message):
    """Several events, stored together or not at all."""

    events: Annotated[list[EventMessage], Field(min_length=1), AtMost("events")]


def _events_kind(value: object) -> str:
    return "<batch>" if isinstance(value, dict) and "events" in value else "<one>"


class EventsRequest(
    RootModel[
        Annotated[
            Annotated[EventMessage, Tag("<one>")] | Annotated[EventBatch, Tag("<batch>")],
            Discriminator(_events_kind),
        ]
    ]
):
    """One event, or a batch."""

    @property
    def single(self) -> bool:
        return isinstance(self.root, EventMessage)

    def to_events(self) -> list[Event]:
        listed = self.root.events if isinstance(self.root, EventBatch) else [self.root]
        return [message.to_event() for message in listed]


# ── what is answered ─────────────────────────────────────────────────────────────────────────────


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


class RecommendationsAnswer(BaseModel):
    """Ranked items and what they were computed from."""

    recommendation_id: str
    generation: str
    user_version: int | None = None
    items: list[RecommendedAnswer]
    coverage: CoverageAnswer
    degraded: list[str]
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


class ErasureAnswer(BaseModel):
    """The receipt of a forgotten user."""

    user_id: str
    events: int
    recommendations: int
    user_version: int


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
    """The end of a stream."""

    degraded: list[str]
    took_ms: float


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
    return RecommendationsAnswer(
        recommendation_id=found.recommendation_id,
        generation=found.generation,
        user_version=found.user_version,
        items=[_recommended(item, evidence=evidence) for item in found.items],
        coverage=CoverageAnswer(
            shards_ok=found.coverage.shards_ok, shards_total=found.coverage.shards_total
        ),
        degraded=list(found.degraded),
        took_ms=took_ms,
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
