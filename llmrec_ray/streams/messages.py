"""A message's body in, what it tells of out: JSON, read by the models that HTTP reads."""

from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from llmrec_ray.bodies import AHEAD, EventMessage, in_the_future
from llmrec_ray.errors import InvalidInput, TooLarge
from llmrec_ray.settings import LimitSettings
from llmrec_ray.types import Event

B = TypeVar("B", bound=BaseModel)


def read_body(model: type[B], body: bytes, limits: LimitSettings) -> B:
    """A body as a model, within the limits; `InvalidInput` and `TooLarge` say what is wrong."""
    if len(body) > limits.body_bytes:
        raise TooLarge(f"the body is over {limits.body_bytes} bytes (limits.body_bytes).")
    try:
        return model.model_validate_json(body, context=limits)
    except ValidationError as cause:
        raise InvalidInput(_said(cause)) from cause


def read_event(body: bytes, limits: LimitSettings, now: datetime) -> Event:
    """One event of `POST /v1/events`; raises what `read_body` does.

    Other than HTTP it knows no items: an event for one that the catalogue does not have is taken,
    and counts for nothing until it has it.
    """
    event = read_body(EventMessage, body, limits).to_event()
    if event.time > now + AHEAD:
        raise InvalidInput(f"time: {in_the_future(event.time)}", field="time")
    return event


def _said(error: ValidationError) -> str:
    """The first thing that is wrong, and how many there are; never the values themselves."""
    found = error.errors(include_url=False, include_input=False)
    place = ".".join(str(part) for part in found[0]["loc"])
    rest = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return f"{place}: {found[0]['msg']}{rest}." if place else f"{found[0]['msg']}{rest}."
