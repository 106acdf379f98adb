"""Facts in, the clauses that state them out: what items share, and what one item has."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

from llmrec_ray.explain.evidence import Fact, Facts
from llmrec_ray.explain.grammar import Node, one_of, then
from llmrec_ray.explain.words import listed, plural, singular

OWN = 3
"""How many of an item's own fields are spoken of: the first in the catalogue's order."""


def reasons(who: str, shared: tuple[Fact, ...]) -> Iterator[Node]:
    """What `who` ("both", "all three") have in common: one fact or two, each said once."""
    for fact in told(shared):
        yield _all(who, one_of(have(fact)), shares=fact.form in {"single", "plural"})
    for one, two in permutations(shared, 2):
        if two.form == "time":
            continue
        shares = one.form in {"single", "plural"}
        if one.form != "time" and shares == (two.form in {"single", "plural"}):
            verb = "share" if shares else "have"
            pair = then(f"{verb} ", one_of(noun(one)), " and ", one_of(noun(two)))
        else:
            pair = then(one_of(have(one)), " and ", one_of(have(two)))
        yield _all(who, pair, shares=shares)


def _all(who: str, verb: Node, *, shares: bool) -> Node:
    """Who does it; two that share are "they", since "both share" says it twice."""
    return then("they " if shares and who == "both" else f"{who} ", verb)


def have(fact: Fact) -> Iterator[Node]:
    """In the plural: "share the director X", "have X in the cast", "come from the 1990s"."""
    if fact.form == "time":
        yield f"come from {fact.values[0]}"
        yield f"date from {fact.values[0]}"
    else:
        verb = "have" if fact.form == "within" else "share"
        yield then(f"{verb} ", one_of(noun(fact)))


def told(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """The facts that can stand alone: a common time only where there is nothing else."""
    return tuple(fact for fact in facts if fact.form != "time") or facts


def has(fact: Fact) -> Iterator[Node]:
    """In the singular: "has the genre X", "has X in the cast"; nothing for "the director X"."""
    if fact.form == "time":
        yield one_of((f"comes from {fact.values[0]}", f"dates from {fact.values[0]}"))
    elif fact.form != "single":
        yield then("has ", one_of(noun(fact)))


def noun(fact: Fact) -> Iterator[Node]:
    """The values, or two of three: "the genre X", "the genres X and Y", "X and Y in the cast"."""
    for count in sorted({len(fact.values), min(len(fact.values), 2)}):
        values = fact.values[:count]
        if fact.form == "within":
            yield f"{listed(values)} in the {fact.name}"
        else:
            name = singular(fact.name) if count == 1 else plural(fact.name)
            yield f"the {name} {listed(values)}"


def own(facts: Facts) -> Iterator[str]:
    """What the item itself has: "its director is X", "its cast includes X and Y"."""
    for fact in told(facts.fields)[:OWN]:
        several = len(fact.values) > 1
        if fact.form == "time":
            yield f"it comes from {fact.values[0]}"
        elif fact.form == "within":
            yield f"its {fact.name} includes {listed(fact.values)}"
        elif several:
            yield f"its {plural(fact.name)} include {listed(fact.values)}"
        else:
            yield f"its {singular(fact.name)} is {fact.values[0]}"


def without(facts: tuple[Fact, ...], said: tuple[Fact, ...]) -> Iterator[Fact]:
    """The facts less every value that was said, and less a second time."""
    known = {value for fact in said for value in fact.values}
    for fact in facts:
        times = any(other.form == "time" for other in said) and fact.form == "time"
        values = tuple(value for value in fact.values if value not in known)
        if values and not times:
            yield replace(fact, values=values)


def within_both(ours: tuple[Fact, ...], theirs: tuple[Fact, ...]) -> Iterator[Fact]:
    """What the item shares with the one as well as with the other."""
    known = {(fact.name, value) for fact in theirs for value in fact.values}
    for fact in ours:
        values = tuple(value for value in fact.values if (fact.name, value) in known)
        if values:
            yield replace(fact, values=values)
