"""Facts in, the language of true sentences about them out.

Every text of the language is grammatical, states only the facts, ties each fact to the items that
have it, and says nothing twice: whoever chooses, a digest or a language model, cannot be wrong.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

from llmrec_ray.explain.evidence import Cited, Fact, Facts
from llmrec_ray.explain.grammar import (
    Node,
    Picker,
    capped,
    ended,
    first_text,
    one_of,
    shortest,
    then,
)
from llmrec_ray.explain.words import listed, plural, singular

OPENINGS = 4
"""How many openings one request offers, all with the same first word: models prefer "You", and a
list of ten would read the same."""

OWN = 3
"""How many of an item's own fields are spoken of: the first in the catalogue's order."""


def phrases(facts: Facts, *, seed: str, room: int | None = None) -> Node:
    """The language for one explanation, about the first two events at most.

    `seed` chooses the first word and the openings with it; `room` caps the texts' `weight`, but
    the shortest opening stays.
    """
    frames = [one_of(frame) for frame in _frames(facts)]
    if room is not None:
        fitting = [kept for frame in frames if (kept := capped(frame, room, weight)) is not None]
        frames = fitting or [min(frames, key=lambda frame: shortest(frame, weight))]
    pick = Picker(seed, facts.item_id)
    starts: dict[str, list[Node]] = {}
    for frame in frames:
        starts.setdefault(first_text(frame).split(" ", 1)[0], []).append(frame)
    return one_of(pick.some(list(starts.values())[pick(len(starts))], OPENINGS))


def weight(text: str) -> int:
    """The length in characters; one outside of ASCII, which costs a model more, counts as three."""
    return len(text) + 2 * sum(not char.isascii() for char in text)


def _frames(facts: Facts) -> Iterator[list[Node]]:
    """Each opening with its ways to go on; every text is one or two whole sentences."""
    if not facts.cited:
        yield from ([ended(frame)] for frame in _impersonal(facts))
        return
    first, rest = facts.cited[0], facts.cited[1:2]
    opening = _searched(facts, first) if first.is_query else _personal(facts, first)
    for about_item, frame in opening:
        stopped = ended(frame)
        yield [stopped]
        called = "It" if about_item else _called(facts)[0]
        tails = [ended(tail) for second in rest for tail in _second(called, first, second)]
        if tails:
            yield [then(stopped, " ", one_of(tails))]
    for second in rest:
        if not first.is_query and not second.is_query:
            yield from ([ended(frame)] for frame in _joint(facts, first, second))


# ── openings ─────────────────────────────────────────────────────────────────────────────────────


def _personal(facts: Facts, cited: Cited) -> Iterator[tuple[bool, Node]]:
    """What the user did to one item, and what the two share; True where the item is the subject."""
    start, this = _called(facts)
    acted, known = f"ou {cited.did} {cited.title}", f"{cited.title}, which you {cited.which}"
    if not cited.shared:
        yield False, f"Y{acted}, and {this} is close to it"
        yield False, f"Y{acted}, so {this} may be for you"
        yield False, f"Because y{acted}, we suggest {this}, which is close to it"
        yield True, f"{start} is close to {known}"
        yield True, f"{start} goes well with {known}"
        return
    why = one_of(_reasons("both", cited.shared))
    yield False, then(f"Y{acted}, so you may like {this}: ", why)
    yield False, then(f"Y{acted}, and {this} is close to it: ", why)
    yield False, then(f"Because y{acted}, we suggest {this}: ", why)
    yield True, then(f"{start} is here because y{acted}: ", why)
    yield True, then(f"{start} goes well with {known}: ", why)
    for fact in _told(cited.shared):
        for has in _has(fact):
            yield True, then(f"Like {known}, {this} ", has)
            yield True, then(f"{start} ", has, f", like {known}")
            yield False, then(f"Y{acted}, and {this} also ", has)
        if fact.form == "within":
            yield True, then("With ", one_of(_noun(fact)), f", {this} is close to {known}")
        elif fact.form != "time":
            yield True, then(f"{start} shares ", one_of(_noun(fact)), f" with {known}")
            yield False, then(f"{start} and {known}, share ", one_of(_noun(fact)))


def _searched(facts: Facts, query: Cited) -> Iterator[tuple[bool, Node]]:
    """What the user searched for, and what the item has."""
    start, this = _called(facts)
    search = _search(query)
    own = [then(f": {clause}") for clause in _own(facts)]
    for ending in ([""], own) if own else ([""],):
        said = one_of(ending)
        yield True, then(f"{start} is a close match for {search}", said)
        yield True, then(f"{start} came up for {search}", said)
        yield True, then(f"{start} fits {search}", said)
        yield False, then(f"Y{search[1:]} led to {this}", said)


def _search(query: Cited) -> str:
    return f"your search for “{query.title}”" if query.title else "your search"


def _impersonal(facts: Facts) -> Iterator[Node]:
    start, this = _called(facts)
    said = {
        "popular": (
            f"{start} is popular with other users",
            f"{start} is a popular choice among other users",
            f"Many other users turned to {this}",
            f"Other users often pick {this}",
            f"{start} stands out for being popular with others",
        ),
        "history": (
            f"{start} is close to things you turned to before",
            f"{start} fits what you have turned to so far",
            f"Your history here points to {this}",
        ),
    }.get(facts.ground, (f"{start} is a suggestion to start from", f"You could start with {this}"))
    own = list(_own(facts))
    for opening in said:
        yield then(opening, one_of(f": {clause}" for clause in own)) if own else opening


# ── two events ───────────────────────────────────────────────────────────────────────────────────


def _second(called: str, first: Cited, second: Cited) -> Iterator[Node]:
    """A second sentence, about another event, with what the first one cannot have said."""
    if second.is_query:
        yield f"{called} also fits {_search(second)}"
        return
    known = f"{second.title}, which you {second.which}"
    fresh = tuple(_without(second.shared, first.shared))
    for fact in _told(fresh):
        for has in _has(fact):
            yield then(f"{called} also ", has, f", like {known}")
        if fact.form in {"single", "plural"}:
            yield then(f"{called} also shares ", one_of(_noun(fact)), f" with {known}")
    if not fresh:
        yield f"{called} is also close to {known}"


def _joint(facts: Facts, first: Cited, second: Cited) -> Iterator[Node]:
    """One sentence about two events that have the same in common with the item, or nothing."""
    _, this = _called(facts)
    did = "" if first.did == second.did else f"{second.did} "
    acted = f"ou {first.did} {first.title} and {did}{second.title}"
    common = tuple(_within_both(first.shared, second.shared))
    if common:
        why = one_of(_reasons("all three", common))
        yield then(f"Y{acted}, so you may like {this}: ", why)
        yield then(f"Because y{acted}, we suggest {this}: ", why)
        for fact in _told(common):
            for has in _has(fact):
                yield then(f"Y{acted}, and {this} also ", has)
    elif not first.shared and not second.shared:
        yield f"Y{acted}, and {this} is close to both"
        yield f"Because y{acted}, we suggest {this}, which is close to both"


def _without(facts: tuple[Fact, ...], said: tuple[Fact, ...]) -> Iterator[Fact]:
    known = {value for fact in said for value in fact.values}
    for fact in facts:
        times = any(other.form == "time" for other in said) and fact.form == "time"
        values = tuple(value for value in fact.values if value not in known)
        if values and not times:
            yield replace(fact, values=values)


def _within_both(ours: tuple[Fact, ...], theirs: tuple[Fact, ...]) -> Iterator[Fact]:
    known = {(fact.name, value) for fact in theirs for value in fact.values}
    for fact in ours:
        values = tuple(value for value in fact.values if (fact.name, value) in known)
        if values:
            yield replace(fact, values=values)


# ── clauses ──────────────────────────────────────────────────────────────────────────────────────


def _called(facts: Facts) -> tuple[str, str]:
    """How the item is called at the start of a sentence, and within one."""
    return (facts.title or "This item"), (facts.title or "this item")


def _reasons(who: str, shared: tuple[Fact, ...]) -> Iterator[Node]:
    """What `who` ("both", "all three") have in common: one fact or two, each said once."""
    for fact in _told(shared):
        yield _all(who, one_of(_have(fact)), shares=fact.form in {"single", "plural"})
    for one, two in permutations(shared, 2):
        if two.form == "time":
            continue
        shares = one.form in {"single", "plural"}
        if one.form != "time" and shares == (two.form in {"single", "plural"}):
            verb = "share" if shares else "have"
            pair = then(f"{verb} ", one_of(_noun(one)), " and ", one_of(_noun(two)))
        else:
            pair = then(one_of(_have(one)), " and ", one_of(_have(two)))
        yield _all(who, pair, shares=shares)


def _all(who: str, verb: Node, *, shares: bool) -> Node:
    """Who does it; two that share are "they", since "both share" says it twice."""
    return then("they " if shares and who == "both" else f"{who} ", verb)


def _have(fact: Fact) -> Iterator[Node]:
    """In the plural: "share the director X", "have X in the cast", "come from the 1990s"."""
    if fact.form == "time":
        yield f"come from {fact.values[0]}"
        yield f"date from {fact.values[0]}"
    else:
        verb = "have" if fact.form == "within" else "share"
        yield then(f"{verb} ", one_of(_noun(fact)))


def _told(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """The facts that can stand alone: a common time only where there is nothing else."""
    return tuple(fact for fact in facts if fact.form != "time") or facts


def _has(fact: Fact) -> Iterator[Node]:
    """In the singular: "has the genre X", "has X in the cast"; nothing for "the director X"."""
    if fact.form == "time":
        yield one_of((f"comes from {fact.values[0]}", f"dates from {fact.values[0]}"))
    elif fact.form != "single":
        yield then("has ", one_of(_noun(fact)))


def _noun(fact: Fact) -> Iterator[Node]:
    """The values, or two of three: "the genre X", "the genres X and Y", "X and Y in the cast"."""
    for count in sorted({len(fact.values), min(len(fact.values), 2)}):
        values = fact.values[:count]
        if fact.form == "within":
            yield f"{listed(values)} in the {fact.name}"
        else:
            name = singular(fact.name) if count == 1 else plural(fact.name)
            yield f"the {name} {listed(values)}"


def _own(facts: Facts) -> Iterator[str]:
    """What the item itself has: "its director is X", "its cast includes X and Y"."""
    for fact in _told(facts.fields)[:OWN]:
        several = len(fact.values) > 1
        if fact.form == "time":
            yield f"it comes from {fact.values[0]}"
        elif fact.form == "within":
            yield f"its {fact.name} includes {listed(fact.values)}"
        elif several:
            yield f"its {plural(fact.name)} include {listed(fact.values)}"
        else:
            yield f"its {singular(fact.name)} is {fact.values[0]}"
