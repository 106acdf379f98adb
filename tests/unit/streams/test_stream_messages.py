"""One event in a message is what one event over HTTP is: the same bodies are taken and refused."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from llmrec_ray.errors import InvalidInput, TooLarge
from llmrec_ray.settings import LimitSettings
from llmrec_ray.streams.messages import read_event
from llmrec_ray.types import Event
from serve.http.messages import EventsRequest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = LimitSettings(id_chars=20, text_chars=30)
PLAIN = {
    "event_id": "e1",
    "user_id": "ada",
    "item_id": "i1",
    "type": "click",
    "time": "2026-03-01T12:00:00Z",
}


def body(**changed: object) -> bytes:
    return json.dumps({**PLAIN, **changed}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in PLAIN.items() if key != name}).encode()


TAKEN = [
    body(),
    body(type="rating", value=4),
    body(type="review", text="Great 🎬\nTwice."),
    body(time="2026-03-01T09:00:00.123456-03:00"),
    body(recommendation_id="r1", value=None, text=None),
    body(user_id="用户", event_id="x" * 20),
    b" \n" + body() + b" ",
]

REFUSED = [
    b"",
    b"null",
    b"[]",
    b'"e1"',
    b"{",
    body()[:-1],
    body() + body(),
    b"\xff\xfe" + body(),
    b'{"event_id": "\xff"}',
    b"[" * 100_000,
    *(without(name) for name in PLAIN),
    body(more=1),
    body(event_id=7),
    body(event_id=""),
    body(event_id="x" * 21),
    body(user_id="a\0b"),
    body(user_id="a\nb"),
    body(user_id="\ud800"),
    body(type="bought"),
    body(type="rating"),
    body(type="click", value=1.0),
    body(type="rating", value="4"),
    body(type="rating", value=True),
    body(type="rating", value=4).replace(b"4", b"NaN", 1),
    body(type="rating", value=4).replace(b": 4", b": 1e999"),
    body(type="review", text=" "),
    body(type="review", text="x" * 31),
    body(time="2026-03-01T12:00:00"),
    body(time="yesterday"),
    body(time="0000-01-01T00:00:00Z"),
]


def over_http(text: bytes) -> Event | None:
    try:
        (event,) = EventsRequest.model_validate_json(text, context=LIMITS).to_events()
    except ValidationError:
        return None
    return event


def in_a_message(text: bytes) -> Event | None:
    try:
        return read_event(text, LIMITS, NOON)
    except InvalidInput:
        return None


@pytest.mark.parametrize("text", TAKEN)
def test_what_http_takes_is_taken_and_means_the_same(text: bytes) -> None:
    assert over_http(text) is not None
    assert in_a_message(text) == over_http(text)


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_http_refuses_is_refused(text: bytes) -> None:
    assert over_http(text) is None
    assert in_a_message(text) is None


def test_a_batch_is_no_message() -> None:
    with pytest.raises(InvalidInput, match="Field required"):
        read_event(json.dumps({"events": [PLAIN]}).encode(), LIMITS, NOON)


def test_a_message_over_the_limit_of_a_body_is_refused() -> None:
    limits = LimitSettings(body_bytes=len(body()))
    assert read_event(body(), limits, NOON).event_id == "e1"
    with pytest.raises(TooLarge, match=r"limits\.body_bytes"):
        read_event(body() + b" ", limits, NOON)


def test_an_event_of_the_future_is_refused_as_over_http() -> None:
    assert read_event(body(), LIMITS, NOON - timedelta(minutes=5)).event_id == "e1"
    with pytest.raises(InvalidInput, match="is in the future"):
        read_event(body(), LIMITS, NOON - timedelta(minutes=6))


def test_the_reason_names_the_field_and_never_the_value() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_event(body(type="secret", user_id=""), LIMITS, NOON)
    assert str(caught.value).startswith("user_id: ")
    assert "(1 more)" in str(caught.value)
    assert "secret" not in str(caught.value)
