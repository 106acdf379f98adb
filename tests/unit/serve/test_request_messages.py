"""Bodies as they arrive: what is taken, and what is refused, with a pointer to it."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from llmrec_ray.settings import LimitSettings
from llmrec_ray.types import AllOf, AnyOf, Not, Range, SessionItem
from serve.http.messages import EventsRequest, RecommendationsRequest, SearchRequest
from serve.http.problems import Problem, of_validation

EVENT = {
    "event_id": "e1",
    "user_id": "u1",
    "item_id": "f1",
    "type": "click",
    "time": "2026-01-01T00:00:00Z",
}


def read(model: type[BaseModel], body: object, **limits: int) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body)
    return model.model_validate_json(text, context=LimitSettings(**limits))


def refused(model: type[BaseModel], body: object, **limits: int) -> Problem:
    with pytest.raises(ValidationError) as caught:
        read(model, body, **limits)
    return of_validation(caught.value)


def pointers(problem: Problem) -> list[str | None]:
    return [error.pointer for error in problem.errors]


def recommend(**more: object) -> dict[str, object]:
    return {"user_id": "u1", **more}


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"field": "country", "equals": "France"}, AnyOf("country", ("France",))),
        ({"field": "year", "equals": 1990}, AnyOf("year", (1990.0,))),
        ({"field": "g", "any_of": ["Drama", "Crime"]}, AnyOf("g", ("Drama", "Crime"))),
        (
            {"field": "year", "range": {"gte": 1980, "lt": 1990}},
            Range("year", gte=1980.0, lt=1990.0),
        ),
        ({"not": {"field": "a", "equals": "b"}}, Not(AnyOf("a", ("b",)))),
        (
            {"all": [{"field": "a", "equals": "b"}, {"not": {"field": "c", "equals": "d"}}]},
            AllOf((AnyOf("a", ("b",)), Not(AnyOf("c", ("d",))))),
        ),
    ],
)
def test_every_form_of_filter_is_understood(written: object, meant: object) -> None:
    asked = read(RecommendationsRequest, recommend(filter=written))
    assert asked.to_request().filter == meant


@pytest.mark.parametrize(
    ("written", "pointer"),
    [
        ({"field": "a"}, "#/filter"),
        ({"field": "a", "equals": "b", "any_of": ["c"]}, "#/filter"),
        ({"field": "a", "equals": True}, "#/filter/equals"),
        ({"field": "a", "equals": {"b": 1}}, "#/filter/equals"),
        ({"field": "a", "any_of": []}, "#/filter/any_of"),
        ({"field": "a", "any_of": ["b", None]}, "#/filter/any_of/1"),
        ({"field": "a", "range": {}}, "#/filter/range"),
        ({"field": "a", "range": {"gte": None}}, "#/filter/range"),
        ({"field": "a", "range": {"gte": "1980"}}, "#/filter/range/gte"),
        ({"field": "a", "range": {"more": 1}}, "#/filter/range/more"),
        ({"all": []}, "#/filter/all"),
        ({"all": [{"field": "a"}]}, "#/filter/all/0"),
        ({"not": {"field": "a", "wrong": 1}}, "#/filter/not/wrong"),
        ("genre = 'Drama'", "#/filter"),
    ],
)
def test_a_malformed_filter_names_the_part_at_fault(written: object, pointer: str) -> None:
    problem = refused(RecommendationsRequest, recommend(filter=written))
    assert problem.code == "invalid_input"
    assert pointer in pointers(problem)


def test_a_filter_with_too_many_parts_is_refused() -> None:
    parts = [{"field": "a", "equals": str(n)} for n in range(4)]
    problem = refused(RecommendationsRequest, recommend(filter={"all": parts}), filter_terms=4)
    assert "5 parts" in str(problem)


def test_a_filter_nested_too_deep_is_refused() -> None:
    deep: dict[str, object] = {"field": "a", "equals": "b"}
    for _ in range(17):
        deep = {"not": deep}
    assert "nested" in str(refused(RecommendationsRequest, recommend(filter=deep)))


def test_nesting_without_end_is_no_crash() -> None:
    body = b'{"user_id": "u", "filter": ' + b'{"not": ' * 50_000 + b"{}" + b"}" * 50_001
    assert refused(RecommendationsRequest, body).code in {"malformed_body", "invalid_input"}


# ── limits and types ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("weight", "bound"), [(1e300, "to 1000"), (-1000.5, "to -1000")])
def test_a_weight_out_of_bounds_is_refused_by_name(weight: float, bound: str) -> None:
    session = [{"item_id": "f1", "weight": 1000}, {"item_id": "f2", "weight": weight}]
    problem = refused(RecommendationsRequest, {"session": session})
    assert pointers(problem) == ["#/session/1/weight"]
    assert bound in str(problem)


@pytest.mark.parametrize("limit", [0, -1, 101, 10**6, 10**400])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    body = f'{{"user_id": "u", "limit": {limit}}}'.encode()
    assert pointers(refused(RecommendationsRequest, body)) == ["#/limit"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "10"),
        ("limit", 1.5),
        ("limit", True),
        ("user_id", 7),
        ("user_id", ""),
        ("user_id", "a\u0000b"),
        ("user_id", "a\nb"),
        ("text", "   "),
        ("text", "a\u0000b"),
        ("exclude_seen", "yes"),
        ("explain", "always"),
        ("exclude_ids", "f1"),
        ("session", {"item_id": "f1"}),
        ("unknown", 1),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_where_it_stands(name: str, value: object) -> None:
    problem = refused(RecommendationsRequest, recommend(**{name: value}))
    assert pointers(problem) == [f"#/{name}"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    body = f'{{"session": [{{"item_id": "f1", "weight": {number}}}]}}'.encode()
    assert refused(RecommendationsRequest, body).code in {"invalid_input", "malformed_body"}
    compared = f'{{"user_id": "u", "filter": {{"field": "y", "equals": {number}}}}}'.encode()
    assert refused(RecommendationsRequest, compared).code in {"invalid_input", "malformed_body"}


@pytest.mark.parametrize(
    ("limits", "more", "pointer"),
    [
        ({"text_chars": 5}, {"text": "abcdef"}, "#/text"),
        ({"id_chars": 5}, {"user_id": "abcdef"}, "#/user_id"),
        ({"ids": 1}, {"exclude_ids": ["a", "b"]}, "#/exclude_ids"),
        ({"session": 1}, {"session": ["a", "b"]}, "#/session"),
        ({"limit": 5}, {"limit": 6}, "#/limit"),
    ],
)
def test_the_limits_of_the_settings_hold(
    limits: dict[str, int], more: dict[str, object], pointer: str
) -> None:
    problem = refused(RecommendationsRequest, recommend(**more), **limits)
    assert pointers(problem) == [pointer]
    assert "at most" in str(problem)


def test_a_request_for_nobody_is_refused() -> None:
    assert "user_id, session and text" in str(refused(RecommendationsRequest, {"limit": 3}))


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b'{"user_id": "\xff"}', b'"\\ud800"'])
def test_what_is_not_json_in_utf_8_is_called_so(body: bytes) -> None:
    assert refused(RecommendationsRequest, body).code == "malformed_body"


@pytest.mark.parametrize("body", [b"null", b"[]", b"7"])
def test_another_json_value_than_an_object_is_refused(body: bytes) -> None:
    assert refused(RecommendationsRequest, body).code == "invalid_input"


def test_an_empty_query_is_refused() -> None:
    assert pointers(refused(SearchRequest, {"query": ""})) == ["#/query"]


def test_every_fault_of_a_body_is_told_at_once() -> None:
    problem = refused(RecommendationsRequest, {"user_id": "", "limit": 0, "colour": "red"})
    assert sorted(filter(None, pointers(problem))) == ["#/colour", "#/limit", "#/user_id"]
    assert "2 more" in str(problem)


# ── sessions and events ──────────────────────────────────────────────────────────────────────────


def test_a_session_takes_bare_ids_and_weights() -> None:
    asked = read(RecommendationsRequest, {"session": ["a", {"item_id": "b", "weight": -1}]})
    assert asked.to_request().session == (SessionItem("a"), SessionItem("b", -1.0))


def test_a_session_entry_tells_what_an_event_tells() -> None:
    told = [
        {"item_id": "a", "type": "rating", "value": 2},
        {"item_id": "b", "type": "review", "text": "Fine.", "value": 4},
        {"item_id": "c", "type": "dislike"},
    ]
    asked = read(RecommendationsRequest, {"session": told})
    assert asked.to_request().session == (
        SessionItem("a", None, "rating", 2.0),
        SessionItem("b", None, "review", 4.0, "Fine."),
        SessionItem("c", None, "dislike"),
    )


@pytest.mark.parametrize(
    "told",
    [
        {"type": "rating"},
        {"type": "review", "value": 3},
        {"type": "like", "value": 3},
        {"value": 3},
        {"text": "fine"},
        {"type": "like", "text": "fine"},
    ],
)
def test_a_session_entry_that_makes_no_sense_is_refused(told: dict[str, object]) -> None:
    body = {"session": [{"item_id": "a"} | told]}
    assert pointers(refused(RecommendationsRequest, body)) == ["#/session/0"]


@pytest.mark.parametrize("text", ["", "  \n ", "nul \0 inside", "x" * 2_001])
def test_a_review_that_says_nothing_or_too_much_is_refused(text: str) -> None:
    told = {"type": "review", "text": text}
    assert pointers(refused(EventsRequest, EVENT | told)) == ["#/text"]
    body = {"session": [{"item_id": "a"} | told]}
    assert pointers(refused(RecommendationsRequest, body)) == ["#/session/0/text"]


def test_a_review_may_have_a_value_beside_its_text() -> None:
    (event,) = read(
        EventsRequest, EVENT | {"type": "review", "text": "讲得好", "value": 5}
    ).to_events()
    assert (event.text, event.value) == ("讲得好", 5.0)


def test_an_explanation_asks_for_the_evidence_it_is_made_of() -> None:
    assert read(RecommendationsRequest, recommend(explain="template")).to_request().evidence


def test_one_event_and_a_batch_are_both_taken() -> None:
    assert (
        read(EventsRequest, EVENT).to_events()
        == read(EventsRequest, {"events": [EVENT]}).to_events()
    )


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"type": "stare"}, "#/type"),
        ({"time": "2026-01-01T00:00:00"}, "#/time"),
        ({"time": "yesterday"}, "#/time"),
        ({"event_id": ""}, "#/event_id"),
        ({"value": 3}, "#"),
        ({"type": "rating"}, "#"),
        ({"type": "review"}, "#"),
        ({"text": "fine"}, "#"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(change: dict[str, object], pointer: str) -> None:
    assert pointer in pointers(refused(EventsRequest, EVENT | change))
    in_batch = pointer.replace("#", "#/events/0")
    assert in_batch in pointers(refused(EventsRequest, {"events": [EVENT | change]}))


def test_an_empty_batch_and_one_over_the_limit_are_refused() -> None:
    assert pointers(refused(EventsRequest, {"events": []})) == ["#/events"]
    many = {"events": [EVENT, EVENT]}
    assert pointers(refused(EventsRequest, many, events=1)) == ["#/events"]
