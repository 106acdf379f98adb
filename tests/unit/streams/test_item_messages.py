"""An item in a message is what an item over HTTP is: the same bodies are taken and refused."""

import json

import pytest
from pydantic import ValidationError

from llmrec_ray.catalog.live import ItemDraft
from llmrec_ray.errors import InvalidInput
from llmrec_ray.items.stream import read_item
from llmrec_ray.settings import LimitSettings
from serve.http.item_messages import ItemsRequest

LIMITS = LimitSettings(id_chars=20)
PLAIN = {"item_id": "i1", "title": "A title"}


def body(**changed: object) -> bytes:
    return json.dumps({**PLAIN, **changed}).encode()


TAKEN = [
    body(),
    body(fields={}),
    body(title="Great 🎬"),
    body(fields={"year": 1999, "genres": ["a", "b"], "plot": "Of x.", "image": None}),
]

REFUSED = [
    b"",
    b"null",
    b"[]",
    body()[:-1],
    b'{"item_id": "i1"}',
    b'{"title": "A title"}',
    body(item_id=7),
    body(item_id="x" * 21),
    body(item_id="a\nb"),
    body(title=""),
    body(title=" "),
    body(title="a\0b"),
    body(title="\ud800"),
    body(more=1),
    body(fields=[]),
    body(fields={"year": True}),
    body(fields={"year": 1}).replace(b": 1}", b": NaN}"),
    body(fields={"a": {"b": 1}}),
    body(fields={"a\nb": 1}),
]


def over_http(text: bytes) -> ItemDraft | None:
    try:
        whole = b'{"items": [' + text + b"]}"
        (draft,) = ItemsRequest.model_validate_json(whole, context=LIMITS).to_drafts()
    except ValidationError:
        return None
    return draft


def in_a_message(text: bytes) -> ItemDraft | None:
    try:
        return read_item(text, LIMITS)[1]
    except InvalidInput:
        return None


@pytest.mark.parametrize("text", TAKEN)
def test_what_http_takes_is_taken_and_means_the_same(text: bytes) -> None:
    assert over_http(text) is not None
    assert in_a_message(text) == over_http(text)


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_http_refuses_is_refused(text: bytes) -> None:
    assert over_http(text) is None
    with pytest.raises(InvalidInput):
        read_item(text, LIMITS)


def test_a_deletion_is_an_id_and_nothing_else() -> None:
    assert read_item(b'{"item_id": "i1", "deleted": true}', LIMITS) == ("i1", None)
    with pytest.raises(InvalidInput, match="neither title nor fields"):
        read_item(body(deleted=True), LIMITS)


def test_an_item_that_is_said_not_to_be_deleted_is_put() -> None:
    assert read_item(body(deleted=False), LIMITS) == ("i1", ItemDraft("i1", "A title", {}))
