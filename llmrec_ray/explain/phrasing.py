"""Facts in, the language of true sentences about them out.

Every text of the language is grammatical, states only the facts, ties each fact to the items that
have it, and says nothing twice: whoever chooses, a digest or a language model, cannot be wrong.
"""

from collections.abc import Iterator

from llmrec_ray.explain.clauses import has, noun, own, reasons, told, within_both, without
from llmrec_ray.explain.evidence import Cited, Facts
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

OPENINGS = 4
"""How many openings one request offers, all with the same first word: models prefer "You", and a
list of ten would read the same."""


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
    why = one_of(reasons("both", cited.shared))
    yield False, then(f"Y{acted}, so you may like {this}: ", why)
    yield False, then(f"Y{acted}, and {this} is close to it: ", why)
    yield False, then(f"Because y{acted}, we suggest {this}: ", why)
    yield True, then(f"{start} is here because y{acted}: ", why)
    yield True, then(f"{start} goes well with {known}: ", why)
    for fact in told(cited.shared):
        for trait in has(fact):
            yield True, then(f"Like {known}, {this} ", trait)
            yield True, then(f"{start} ", trait, f", like {known}")
            yield False, then(f"Y{acted}, and {this} also ", trait)
        if fact.form == "within":
            yield True, then("With ", one_of(noun(fact)), f", {this} is close to {known}")
        elif fact.form != "time":
            yield True, then(f"{start} shares ", one_of(noun(fact)), f" with {known}")
            yield False, then(f"{start} and {known}, share ", one_of(noun(fact)))


def _searched(facts: Facts, query: Cited) -> Iterator[tuple[bool, Node]]:
    """What the user searched for, and what the item has."""
    start, this = _called(facts)
    search = _search(query)
    details = [then(f": {clause}") for clause in own(facts)]
    for ending in ([""], details) if details else ([""],):
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
    details = list(own(facts))
    for opening in said:
        yield then(opening, one_of(f": {clause}" for clause in details)) if details else opening


# ── two events ───────────────────────────────────────────────────────────────────────────────────


def _second(called: str, first: Cited, second: Cited) -> Iterator[Node]:
    """A second sentence, about another event, with what the first one cannot have said."""
    if second.is_query:
        yield f"{called} also fits {_search(second)}"
        return
    known = f"{second.title}, which you {second.which}"
    fresh = tuple(without(second.shared, first.shared))
    for fact in told(fresh):
        for trait in has(fact):
            yield then(f"{called} also ", trait, f", like {known}")
        if fact.form in {"single", "plural"}:
            yield then(f"{called} also shares ", one_of(noun(fact)), f" with {known}")
    if not fresh:
        yield f"{called} is also close to {known}"


def _joint(facts: Facts, first: Cited, second: Cited) -> Iterator[Node]:
    """One sentence about two events that have the same in common with the item, or nothing."""
    _, this = _called(facts)
    did = "" if first.did == second.did else f"{second.did} "
    acted = f"ou {first.did} {first.title} and {did}{second.title}"
    common = tuple(within_both(first.shared, second.shared))
    if common:
        why = one_of(reasons("all three", common))
        yield then(f"Y{acted}, so you may like {this}: ", why)
        yield then(f"Because y{acted}, we suggest {this}: ", why)
        for fact in told(common):
            for trait in has(fact):
                yield then(f"Y{acted}, and {this} also ", trait)
    elif not first.shared and not second.shared:
        yield f"Y{acted}, and {this} is close to both"
        yield f"Because y{acted}, we suggest {this}, which is close to both"


def _called(facts: Facts) -> tuple[str, str]:
    """How the item is called at the start of a sentence, and within one."""
    return (facts.title or "This item"), (facts.title or "this item")
