"""A message's body in, the event it tells of out: the JSON of one event of `POST /v1/events`."""

from datetime import datetime

from pydantic import ValidationError

from llmrec_ray.bodies import AHEAD, EventMessage, in_the_future
from llmrec_ray.errors import InvalidInput, TooLarge
from llmrec_ray.settings import LimitSettings
from llmrec_ray.types import Event


def read_event(body: bytes, limits: LimitSettings, now: datetime) -> Event:
    """One event, within the limits; `InvalidInput` and `TooLarge` say what is wrong with it.

    Other than HTTP it knows no items: an event for one that the catalogue does not have is taken,
    and counts for nothing until it has it.
    """
    if len(body) > limits.body_bytes:
        raise TooLarge(f"the body is over {limits.body_bytes} bytes (limits.body_bytes).")
    try:
        event = EventMessage.model_validate_json(body, context=limits).to_event()
    except ValidationError as cause:
        raise InvalidInput(_said(cause)) from cause
    if event.time > now + AHEAD:
        raise InvalidInput(f"time: {in_the_future(event.time)}", field="time")
    return event


def _said(error: ValidationError) -> str:
    """The first thing that is wrong, and how many there are; never the values themselves."""
    found = error.errors(include_url=False, include_input=False)
    place = ".".join(str(part) for part in found[0]["loc"])
    rest = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return f"{place}: {found[0]['msg']}{rest}." if place else f"{found[0]['msg']}{rest}."
