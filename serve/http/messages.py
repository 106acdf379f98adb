"""The bodies of requests, checked on the way in, and what they ask of the library."""

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    RootModel,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmrec_ray.bodies import EventMessage, fits_the_type
from llmrec_ray.types import Event, EventType, Metric, RecommendRequest, Scope, SessionItem
from serve.http.fields import Id, Ids, Limit, Message, Number, Text
from serve.http.filter_messages import TopFilter
from serve.http.limits import AtMost

Explain = Literal["none", "template", "llm"]
Weight = Annotated[Number, Field(ge=-1_000, le=1_000)]
"""A like weighs about 1; weights without bounds have sums that are no numbers."""


class SessionEntry(Message):
    """An item of a session, told as an event is; a bare id is an entry of weight 1."""

    item_id: Id
    type: EventType | None = None
    value: Number | None = Field(None, description="The rating, with type rating or review.")
    text: Text | None = Field(None, description="The review, with type review.")
    weight: Weight | None = Field(
        None, description="Counts instead of type, value and text; negative pushes away."
    )

    @model_validator(mode="after")
    def _fits_the_type(self) -> Self:
        fits_the_type(self.type, self.value, self.text)
        return self

    def to_item(self) -> SessionItem:
        return SessionItem(self.item_id, self.weight, self.type, self.value, self.text)


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
    session: Session = Field([])
    text: Text | None = None
    limit: Limit = 10
    filter: TopFilter | None = None
    exclude_ids: Ids = Field([])
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
            session=tuple(entry.to_item() for entry in self.session),
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
