"""What bodies from outside are made of: kinds of values with their bounds, and one event.

HTTP and streams read the same models. The bounds of `settings.limits` reach them as pydantic's
validation context, so one set of models serves every deployment.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from llmrec_ray.settings import LimitSettings
from llmrec_ray.types import Event, EventType

T = TypeVar("T")
MARK = "x-limit"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc

AHEAD = timedelta(minutes=5)
"""How far ahead a caller's clock may be: an event of the future would stay the newest for long."""


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AtMost:
    """A text's or list's length, or a number, is at most the limit of that name."""

    name: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {MARK: self.name}

    def _check(self, value: T, info: ValidationInfo) -> T:
        limit = cast(int, getattr(limits_of(info), self.name))
        if isinstance(value, int):
            if value > limit:
                raise PydanticCustomError("at_most", "at most {limit} is allowed", {"limit": limit})
        elif len(cast(str, value)) > limit:
            what = "characters" if isinstance(value, str) else "entries"
            raise PydanticCustomError(
                "too_long",
                "at most {limit} {what} are allowed, and these are {length}",
                {"limit": limit, "what": what, "length": len(cast(str, value))},
            )
        return value


def limits_of(info: ValidationInfo) -> LimitSettings:
    """The limits that a model is validated with; the defaults where none were given."""
    return info.context if isinstance(info.context, LimitSettings) else LimitSettings()


def no_control_characters(value: str) -> str:
    """Ids and field names are stored and logged: no NUL, no line breaks, nothing of that kind."""
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "control characters are not allowed")
    return value


def no_nul(value: str) -> str:
    """A database text cannot hold NUL."""
    if "\0" in value:
        raise PydanticCustomError("control_character", "the character NUL is not allowed")
    return value


def not_blank(value: str) -> str:
    """A text must say something."""
    if not value.strip():
        raise PydanticCustomError("blank", "must hold more than white space")
    return value


# ── kinds of values ──────────────────────────────────────────────────────────────────────────────


Id = Annotated[str, Field(min_length=1), AtMost("id_chars"), AfterValidator(no_control_characters)]
Text = Annotated[
    str,
    Field(min_length=1),
    AtMost("text_chars"),
    AfterValidator(not_blank),
    AfterValidator(no_nul),
]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Message(BaseModel):
    """A body: unknown names and values of another JSON type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# ── events ───────────────────────────────────────────────────────────────────────────────────────


def fits_the_type(kind: EventType | None, value: float | None, text: str | None) -> None:
    """A rating has a value, a review a text and maybe a value; nothing else has either."""
    for name, given, needed, allowed in (
        ("value", value is not None, kind == "rating", kind in {"rating", "review"}),
        ("text", text is not None, kind == "review", kind == "review"),
    ):
        if needed and not given:
            raise PydanticCustomError(
                "event", "an event of type {kind} needs a {name}", {"name": name, "kind": kind}
            )
        if given and not allowed:
            kinds = "rating or review" if name == "value" else "review"
            raise PydanticCustomError(
                "event",
                "{name} goes with an event of type {kinds}, and only with that",
                {"name": name, "kinds": kinds},
            )


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
        fits_the_type(self.type, self.value, self.text)
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


def in_the_future(time: datetime) -> str:
    """What is said of an event that is later than `AHEAD` allows."""
    return f"{time.isoformat()} is in the future; an event is sent when it has happened."
