"""Which answers of the service a load run takes for wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from loadtest import replies
from loadtest.replies import Wrong


def answer(**changed: Any) -> dict[str, Any]:
    items = [
        {"item_id": "a", "score": 3.0, "rank": 1, "prior": 1.0, "evidence": [{"share": 2.0}]},
        {"item_id": "b", "score": 2.0, "rank": 2, "prior": 2.0, "evidence": []},
    ]
    return {
        "generation": "g-1",
        "items": items,
        "coverage": {"shards_ok": 2, "shards_total": 2},
        "degraded": [],
    } | changed


def first(**changed: Any) -> dict[str, Any]:
    whole = answer()
    whole["items"][0] |= changed
    return whole


def test_a_right_answer_says_its_generation() -> None:
    told = replies.ranking(answer(), evidence=True)
    assert (told.generation, told.degraded) == ("g-1", False)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (first(prior=1.1), "sum"),
        (first(rank=2), "ranks"),
        (first(score=1.0, prior=-1.0), "fall"),
        (first(item_id="b"), "twice"),
        (first(evidence=[{}]), "lacks"),
        (answer(items=None), "items"),
        (answer(coverage={"shards_ok": 1, "shards_total": 2}), "shard"),
        (answer(coverage={}), "lacks"),
    ],
)
def test_an_answer_that_contradicts_itself_is_wrong(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        replies.ranking(wrong, evidence=True)


def test_a_degraded_answer_may_lack_a_shard() -> None:
    part = answer(coverage={"shards_ok": 1, "shards_total": 2}, degraded=["search"])
    assert replies.ranking(part).degraded


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff"])
def test_a_body_that_does_not_parse_is_wrong(body: bytes) -> None:
    with pytest.raises(Wrong, match="JSON"):
        replies.parsed(body)


def test_any_other_status_is_wrong() -> None:
    replies.expect(200)
    with pytest.raises(Wrong, match="status 500"):
        replies.expect(500)


@pytest.mark.parametrize(
    ("judge", "right", "wrong"),
    [
        (replies.stored, {"rejected": [], "user_versions": {"u": 1}}, {"rejected": [{}]}),
        (replies.erased, {"events": 0, "user_version": 1}, {}),
    ],
)
def test_a_receipt_says_what_happened(
    judge: Callable[[dict[str, Any]], object], right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    judge(right)
    with pytest.raises(Wrong, match="receipt"):
        judge(wrong)


def spoken(*messages: tuple[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    text = ": waiting\n\n" + "".join(f"event: {n}\ndata: {json.dumps(d)}\n\n" for n, d in messages)
    return list(replies.messages(line.encode() for line in text.splitlines(keepends=True)))


SAID = [
    ("recommendations", answer()),
    ("piece", {"item_id": "a", "text": "Be"}),
    ("explanation", {"item_id": "a", "text": "Because."}),
    ("explanation", {"item_id": "b", "text": "Because."}),
    ("done", {"degraded": ["explain"]}),
]


def test_a_whole_stream_is_right() -> None:
    assert spoken(*SAID) == SAID
    assert replies.stream(spoken(*SAID)).degraded


@pytest.mark.parametrize(
    "part",
    [
        SAID[:-1],
        SAID[1:],
        [],
        [*SAID[:3], SAID[-1]],
        [*SAID[:4], ("piece", {"item_id": "of another answer", "text": ""}), SAID[-1]],
        [SAID[0], ("error", {"status": 500})],
    ],
)
def test_a_stream_that_breaks_off_or_mixes_answers_is_wrong(part: Any) -> None:
    with pytest.raises(Wrong, match="stream"):
        replies.stream(spoken(*part))


# ── one generation an answer ─────────────────────────────────────────────────────────────────────

MARKS = {"g-1": "[A] ", "g-2": "[B] "}


def titled(item: str, past: str | None = "[A] Past", **changed: Any) -> dict[str, Any]:
    shares = [{"share": 2.0, "title": past}]
    items = [{"item_id": "a", "score": 3.0, "rank": 1, "prior": 1.0, "evidence": shares}]
    items[0]["title"] = item
    return answer(items=items, **changed)


def explained(text: str) -> Any:
    said = {"item_id": "a", "text": text}
    return [("recommendations", titled("[A] One")), ("explanation", said), ("done", {})]


def test_titles_of_the_named_generation_are_right() -> None:
    replies.of_one_generation(replies.ranking(titled("[A] One")), MARKS)
    replies.of_one_generation(replies.ranking(titled("[A] One", None)), MARKS)
    replies.of_one_generation(replies.stream(explained("Like [A] Past.")), MARKS)


def test_where_titles_tell_nothing_none_is_wrong() -> None:
    replies.of_one_generation(replies.ranking(titled("Any")), {})
    replies.of_one_generation(replies.Told(), MARKS)


@pytest.mark.parametrize(
    "mixed",
    [
        titled("[B] One"),
        titled("[A] One", "[B] Past"),
        titled("[A] One", generation="g-2"),
        titled("[A] One", generation="g-3"),
    ],
    ids=["an item", "a past event", "all but the name", "a name that nobody knows"],
)
def test_an_answer_of_two_generations_is_mixed(mixed: dict[str, Any]) -> None:
    with pytest.raises(Wrong, match=replies.MIXED):
        replies.of_one_generation(replies.ranking(mixed, evidence=True), MARKS)


def test_an_explanation_of_another_generation_is_mixed() -> None:
    with pytest.raises(Wrong, match=replies.MIXED):
        replies.of_one_generation(replies.stream(explained("Like [B] Past.")), MARKS)


@pytest.mark.parametrize(
    ("body", "code"),
    [(b'{"code": "not_ready"}', "not_ready"), (b"{}", "None"), (b"<p>", "without a problem")],
)
def test_a_refusal_is_known_by_the_code_of_its_problem(body: bytes, code: str) -> None:
    assert replies.code(body) == code
