"""A finite language as a tree of texts and choices in; its EBNF, its members and its size out.

One tree serves everything that speaks: the template walks it, the language model is held to its
EBNF, and a finished text is checked against it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Then:
    """All parts, one after another."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Exactly one of the options."""

    options: "tuple[Node, ...]"


Node = str | Then | OneOf


def then(*parts: Node) -> Node:
    """The parts in a row; neighbouring texts join."""
    joined: list[Node] = []
    for part in parts:
        for piece in part.parts if isinstance(part, Then) else (part,):
            if isinstance(piece, str) and joined and isinstance(joined[-1], str):
                joined[-1] += piece
            elif piece != "":
                joined.append(piece)
    if len(joined) == 1:
        return joined[0]
    return Then(tuple(joined)) if joined else ""


def one_of(options: Iterable[Node]) -> Node:
    """A choice; equal options count once. There must be one."""
    flat: dict[Node, None] = {}
    for option in options:
        flat.update(dict.fromkeys(option.options if isinstance(option, OneOf) else (option,)))
    if not flat:
        raise ValueError("a choice needs an option")
    return next(iter(flat)) if len(flat) == 1 else OneOf(tuple(flat))


def ended(node: Node) -> Node:
    """The node with a full stop; a text that ends with one ("Jr.") gets no second."""
    match node:
        case str():
            return node if node.endswith(".") else node + "."
        case Then(parts):
            return then(*parts[:-1], ended(parts[-1]))
        case OneOf(options):
            return one_of(ended(option) for option in options)


def walk(node: Node, pick: Callable[[int], int]) -> str:
    """One text of the language; `pick(n)` says which of n options is taken."""
    match node:
        case str():
            return node
        case Then(parts):
            return "".join(walk(part, pick) for part in parts)
        case OneOf(options):
            return walk(options[pick(len(options))], pick)


def first_text(node: Node) -> str:
    """The text at the head of the first member."""
    match node:
        case str():
            return node
        case Then(parts):
            return first_text(parts[0])
        case OneOf(options):
            return first_text(options[0])


def shortest(node: Node, size: Callable[[str], int]) -> int:
    """The size of the smallest text."""
    match node:
        case str():
            return size(node)
        case Then(parts):
            return sum(shortest(part, size) for part in parts)
        case OneOf(options):
            return min(shortest(option, size) for option in options)


def longest(node: Node, size: Callable[[str], int]) -> int:
    """The size of the largest text."""
    match node:
        case str():
            return size(node)
        case Then(parts):
            return sum(longest(part, size) for part in parts)
        case OneOf(options):
            return max(longest(option, size) for option in options)


def capped(node: Node, limit: int, size: Callable[[str], int]) -> Node | None:
    """The part of the language whose every text fits the limit; None where no text does."""
    match node:
        case str():
            return node if size(node) <= limit else None
        case OneOf(options):
            kept = [fit for option in options if (fit := capped(option, limit, size)) is not None]
            return one_of(kept) if kept else None
        case Then(parts):
            fitted: list[Node] = []
            room = limit - shortest(node, size)
            for part in parts:
                least = shortest(part, size)
                fit = capped(part, room + least, size)
                if fit is None:
                    return None
                fitted.append(fit)
                room -= longest(fit, size) - least
            return then(*fitted)


def contains(node: Node, text: str) -> bool:
    """Whether the text, as a whole, belongs to the language."""
    return len(text) in _ends(node, text, frozenset({0}))


def _ends(node: Node, text: str, starts: frozenset[int]) -> frozenset[int]:
    match node:
        case str():
            return frozenset(at + len(node) for at in starts if text.startswith(node, at))
        case Then(parts):
            for part in parts:
                starts = _ends(part, text, starts)
            return starts
        case OneOf(options):
            return frozenset[int]().union(*(_ends(option, text, starts) for option in options))


def ebnf(node: Node) -> str:
    """The language as the one rule `root` in xgrammar's EBNF."""
    return f"root ::= {_rule(node)}"


def _rule(node: Node) -> str:
    match node:
        case str():
            return quoted(node)
        case Then(parts):
            return " ".join(_rule(part) for part in parts)
        case OneOf(options):
            return "(" + " | ".join(_rule(option) for option in options) + ")"


def quoted(text: str) -> str:
    """An EBNF string: quotes and backslashes escaped, what is not ASCII by code point."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in {'"', "\\"}:
        return "\\" + char
    if " " <= char <= "~":
        return char
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"


class Picker:
    """A stable source of choices: the same parts always give the same picks."""

    def __init__(self, *parts: str) -> None:
        digest = blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=32)
        self._left = int.from_bytes(digest.digest())

    def __call__(self, n: int) -> int:
        self._left, taken = divmod(self._left, n)
        return taken

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """At most `count` of the options, in a picked order."""
        left = list(options)
        return [left.pop(self(len(left))) for _ in range(min(count, len(left)))]
