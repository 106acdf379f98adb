"""An answer's bytes in, what it says out; an answer that contradicts itself is `Wrong`."""

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SUM_TOLERANCE = 1e-6
MIXED = "mixed"
"""How the reason begins where an answer speaks of two generations."""


class Wrong(Exception):
    """An answer with the expected status that cannot be right."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a right answer says of itself: `titles` of items and past events, `words` about them."""

    generation: str | None = None
    degraded: bool = False
    titles: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()


def expect(status: int, error: str = "") -> None:
    """Any status but 200 is wrong; 0 stands for a connection that broke, and `error` says how."""
    if status != 200:
        raise Wrong(f"no answer: {error}" if status == 0 else f"status {status}")


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object of a body."""
    try:
        read = json.loads(body)
    except ValueError as cause:
        raise Wrong("the body is no JSON") from cause
    if not isinstance(read, dict):
        raise Wrong("the body is no JSON object")
    return read


def code(body: bytes) -> str:
    """The code of a problem; a proxy's refusal may have none."""
    try:
        return str(parsed(body).get("code"))
    except Wrong:
        return "without a problem"


def ranking(read: dict[str, Any], *, evidence: bool = False) -> Told:
    """A list of ranked items, its scores falling; with evidence, shares that sum to each score."""
    items = _list(read, "items")
    try:
        scores = [float(item["score"]) for item in items]
        if [item["rank"] for item in items] != list(range(1, len(items) + 1)):
            raise Wrong("the ranks do not count from 1")
        if len({item["item_id"] for item in items}) != len(items):
            raise Wrong("an item stands there twice")
        if evidence:
            for item in items:
                _sums_up(item)
        degraded = bool(read["degraded"])
        told = Told(str(read["generation"]), degraded, _titles(items))
        whole = read["coverage"]["shards_ok"] == read["coverage"]["shards_total"]
    except (KeyError, TypeError, ValueError) as cause:
        raise Wrong(f"the answer lacks something, or it is of another type: {cause!r}") from cause
    if any(before < after for before, after in itertools.pairwise(scores)):
        raise Wrong("the scores do not fall")
    if not whole and not degraded:
        raise Wrong("a shard is missing, and the answer does not say it is degraded")
    return told


def of_one_generation(told: Told, marks: Mapping[str, str]) -> None:
    """Every title begins with the mark of the generation that is named, and no words have another.

    `marks` has the marks by generation, and may be empty: then nothing is known of titles.
    """
    if not marks or told.generation is None:
        return
    if (mark := marks.get(told.generation)) is None:
        raise Wrong(f"{MIXED}: the answer names a generation that was never activated")
    if not all(title.startswith(mark) for title in told.titles):
        raise Wrong(f"{MIXED}: a title is not of the generation that the answer names")
    if any(other in words for words in told.words for other in marks.values() if other != mark):
        raise Wrong(f"{MIXED}: an explanation speaks of a title of another generation")


def _titles(items: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The titles of items, and of the past events in their evidence; a query has none."""
    shares = (share for item in items for share in item.get("evidence") or ())
    named = [*(item.get("title") for item in items), *(share.get("title") for share in shares)]
    return frozenset(title for title in named if title is not None)


def _sums_up(item: dict[str, Any]) -> None:
    total = item["prior"] + math.fsum(share["share"] for share in item["evidence"])
    if not math.isclose(total, item["score"], rel_tol=SUM_TOLERANCE, abs_tol=SUM_TOLERANCE):
        raise Wrong("the shares do not sum to the score")


def stored(read: dict[str, Any]) -> Told:
    """The receipt of events that must all be stored, now or before."""
    if read.get("rejected") != [] or not read.get("user_versions"):
        raise Wrong("the receipt does not say that every event is stored")
    return Told()


def erased(read: dict[str, Any]) -> Told:
    """The receipt of a forgotten user."""
    if not isinstance(read.get("events"), int) or not isinstance(read.get("user_version"), int):
        raise Wrong("the receipt does not say what was forgotten")
    return Told()


def messages(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The messages of a `text/event-stream`, as its lines come in."""
    name, data = "", b""
    for line in lines:
        if line.startswith(b"event: "):
            name = line.removeprefix(b"event: ").strip().decode("utf-8", "replace")
        elif line.startswith(b"data: "):
            data += line.removeprefix(b"data: ")
        elif not line.strip() and name:
            yield name, parsed(data)
            name, data = "", b""


def stream(told: Sequence[tuple[str, dict[str, Any]]]) -> Told:
    """A whole stream: an answer, words about its items and no others, and an end."""
    names = [name for name, _ in told]
    if names[:1] != ["recommendations"] or names[-1] != "done":
        raise Wrong(f"the stream goes from {names[:1]} to {names[-1:]}")
    first, last = told[0][1], told[-1][1]
    answer = ranking(first)
    shown = {item["item_id"] for item in first["items"]}
    explained: set[str] = set()
    for name, said in told[1:-1]:
        if name not in {"piece", "explanation"} or said.get("item_id") not in shown:
            raise Wrong(f"the stream says {name!r} of something that it did not recommend")
        if name == "explanation" and said.get("text"):
            explained.add(said["item_id"])
    if explained != shown:
        raise Wrong("an item of the stream has no explanation")
    return replace(
        answer,
        degraded=answer.degraded or bool(last.get("degraded")),
        words=tuple(str(said["text"]) for name, said in told if name == "explanation"),
    )


def _list(read: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = read.get(name)
    if not isinstance(found, list):
        raise Wrong(f"the answer has no list of {name}")
    return found
