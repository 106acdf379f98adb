"""An item and the evidence of its score in, the facts that an explanation may state out."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from llmrec_ray.explain.words import COLLECTIVE, field_words, grade, is_plural, one_line
from llmrec_ray.types import EventShare, Evidence, FieldValue, Item

TITLE_CHARS = 80
VALUE_CHARS = 48
QUERY_CHARS = 60
FACTS = 3
VALUES = 3
YEAR = re.compile("[12][0-9]{3}")
FEW = 6
"""Fewer known items than this say nothing about how much a field varies."""

Ground = Literal["events", "history", "popular", "unknown"]
"""What carries the score: events that can be named, others, the prior, or nothing."""

Form = Literal["single", "plural", "within", "time"]
"""How a fact is said: the director X · the genres X and Y · X in the cast · from the 1990s."""

_DID = {
    "view": "viewed",
    "click": "clicked on",
    "like": "liked",
    "review": "reviewed",
    "purchase": "bought",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Values of a field, of one item or shared by two; `name` is the field in words."""

    name: str
    values: tuple[str, ...]
    form: Form


@dataclass(frozen=True, slots=True)
class Cited:
    """One event: "you `did` `title`", "`title`, which you `which`"; a query's title is its text."""

    event_id: str
    title: str
    did: str
    which: str
    is_query: bool = False
    shared: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that may be said of why an item is recommended; an empty title is an item without one."""

    item_id: str
    title: str
    fields: tuple[Fact, ...]
    cited: tuple[Cited, ...]
    ground: Ground


def facts_of(
    item: Item,
    evidence: Evidence,
    items: Mapping[str, Item],
    limit: int,
    *,
    rating_scale: tuple[float, float] = (1.0, 5.0),
) -> Facts:
    """The facts behind a score: the item's fields, and the `limit` events of the largest share.

    Events whose item is not among `items`, and those by which the user turned an item down, are not
    cited. The more items are given, the better rare values are told from common ones.
    """
    title = _name(item, items)
    positive = [share for share in evidence.shares if share.share > 0]
    carried = bool(positive) and evidence.prior <= sum(share.share for share in positive)
    cited: list[Cited] = []
    named = {title}
    for share in sorted(positive, key=lambda share: (-share.share, share.event_id)):
        if not carried or len(cited) == limit:
            break
        fact = _cite(share, item, items, rating_scale)
        if fact is not None and (fact.is_query or fact.title not in named):
            named.add(fact.title)
            cited.append(fact)
    ground: Ground = "unknown"
    if cited:
        ground = "events"
    elif carried:
        ground = "history"
    elif evidence.prior > 0:
        ground = "popular"
    return Facts(item.item_id, title, _fields(item), tuple(cited), ground)


def _cite(
    share: EventShare, item: Item, items: Mapping[str, Item], scale: tuple[float, float]
) -> Cited | None:
    if share.type == "query":
        text = one_line(share.title or "", QUERY_CHARS)
        return Cited(share.event_id, text, "searched for", "searched for", is_query=True)
    other = items.get(share.item_id or "")
    title = _name(other, items) if other else ""
    did = _did(share, scale)
    if other is None or other.item_id == item.item_id or not title or did is None:
        return None
    return Cited(share.event_id, title, *did, shared=_shared(item, other, items))


def _did(share: EventShare, scale: tuple[float, float]) -> tuple[str, str] | None:
    """What the user did, as in "you … it" and "it, which you …"; None for a sign of dislike."""
    if share.type == "dislike":
        return None
    if share.value is not None and share.value <= sum(scale) / 2:
        return None
    if share.type == "rating" and share.value is not None:
        given = f"gave {grade(share.value, scale[1])}"
        return f"{given} to", given
    did = "rated" if share.type == "rating" else _DID.get(share.type, _DID["view"])
    return did, did


def _name(item: Item, items: Mapping[str, Item]) -> str:
    """The title, with the year where another known item has the same one."""
    title = one_line(item.title, TITLE_CHARS)
    twin = any(
        other.item_id != item.item_id and one_line(other.title, TITLE_CHARS) == title
        for other in items.values()
    )
    years = (year for name, value in item.fields.items() if (year := _year(name, value)))
    year = next(years, None) if twin and title else None
    return f"{title} ({year})" if year else title


# ── what an item has, and what two items have in common ─────────────────────────────────────────


def _fields(item: Item) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    for name, value in item.fields.items():
        if year := _year(name, value):
            facts.append(Fact(field_words(name), (str(year),), "time"))
        elif field_words(name) and (values := tuple(_values(item, value))):
            fact = Fact(field_words(name), values[:VALUES], _form(name))
            facts.append(fact)
    return tuple(facts)


def _shared(item: Item, other: Item, items: Mapping[str, Item]) -> tuple[Fact, ...]:
    """What both have, the rarest among the known items first, then a common time.

    A value that more than half of the known items have stands in where there is none rarer.
    """
    rare: list[tuple[int, Fact]] = []
    common: list[tuple[int, Fact]] = []
    times: list[Fact] = []
    for name, value in item.fields.items():
        theirs = other.fields.get(name)
        year, their_year = _year(name, value), None if theirs is None else _year(name, theirs)
        if year and their_year and (when := _same_time(year, their_year)):
            times.append(Fact(field_words(name), (when,), "time"))
        if theirs is None or year or not field_words(name) or not _tells(name, items):
            continue
        ours, others = tuple(_values(item, value)), tuple(_values(other, theirs))
        known = [held.fields.get(name) for held in items.values()]
        holders = {
            kept: sum(_holds(held, kept) for held in known) for kept in ours if kept in others
        }
        usual = len(known) // 2 if len(known) >= FEW else len(known)
        for facts, kept in (
            (rare, [kept for kept in holders if holders[kept] <= usual]),
            (common, [kept for kept in holders if holders[kept] > usual]),
        ):
            if kept:
                kept.sort(key=lambda value: holders[value])
                values = tuple(kept[:VALUES])
                facts.append((holders[kept[0]], Fact(field_words(name), values, _form(name))))
    told = sorted(rare or common, key=lambda pair: pair[0])
    return (*_disjoint(fact for _, fact in told)[: FACTS - 1], *times[:1])


def _tells(name: str, items: Mapping[str, Item]) -> bool:
    """Whether the field differs from item to item: a new value for every two items at least."""
    held = [known.fields[name] for known in items.values() if name in known.fields]
    distinct = {
        kept for value in held for kept in (value if isinstance(value, tuple) else (value,))
    }
    return len(held) < FEW or 2 * len(distinct) >= len(held)


def _disjoint(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Each value once, though two fields hold it: a director is often a writer too."""
    seen: set[str] = set()
    kept: list[Fact] = []
    for fact in facts:
        values = tuple(value for value in fact.values if value.casefold() not in seen)
        if values:
            seen.update(value.casefold() for value in values)
            kept.append(replace(fact, values=values))
    return tuple(kept)


def _values(item: Item, value: FieldValue) -> Iterator[str]:
    """The values that fit into a sentence: short, no numbers, no links, not the title."""
    given: tuple[str, ...] = ()
    if not isinstance(value, float | int):
        given = (value,) if isinstance(value, str) else value
    title = one_line(item.title, TITLE_CHARS)
    for text in dict.fromkeys(one_line(text, 4 * VALUE_CHARS) for text in given):
        sentence = text.endswith((".", "!", "?", "。")) and text.count(" ") > 2
        if (
            text
            and len(text) <= VALUE_CHARS
            and "://" not in text
            and text != title
            and not sentence
        ):
            yield text


def _holds(value: FieldValue | None, kept: str) -> bool:
    return value == kept or (isinstance(value, tuple) and kept in value)


def _form(name: str) -> Form:
    words = field_words(name)
    if is_plural(words):
        return "plural"
    return "within" if words.rsplit(" ", 1)[-1] in COLLECTIVE else "single"


def _year(name: str, value: FieldValue) -> int | None:
    """The year in a number field, or in a text of four digits, whose name says year."""
    if "year" not in field_words(name).split() or isinstance(value, tuple):
        return None
    if isinstance(value, str):
        return int(value) if YEAR.fullmatch(value) else None
    return int(value) if YEAR.fullmatch(f"{value:g}") else None


def _same_time(year: int, other: int) -> str | None:
    if year == other:
        return str(year)
    return f"the {year // 10 * 10}s" if year // 10 == other // 10 else None
