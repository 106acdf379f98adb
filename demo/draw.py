"""Answers of the service in, something that a person likes to read out."""

from collections import defaultdict
from typing import Any

from rich.columns import Columns
from rich.table import Table
from rich.text import Text

WIDTH = 36
Mark = tuple[str, str]
"""A character and its colour: a log has no colours, and not everybody sees them."""

MARKS: tuple[Mark, ...] = (
    ("█", "cyan"),
    ("▓", "magenta"),
    ("▒", "yellow"),
    ("▚", "green"),
    ("░", "blue"),
)
OTHERS: Mark = ("▪", "white")
PRIOR: Mark = ("─", "bright_black")


def ranked(answer: dict[str, Any]) -> Table:
    """Rank, title and score of every item."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    for item in answer["items"]:
        table.add_row(str(item["rank"]), item["title"], f"{item['score']:.3f}")
    return table


def shares(answer: dict[str, Any]) -> Table:
    """One bar an item, as long as its score: a mark for each past event that adds most to it."""
    mark_of = _marks(answer)
    longest = max((item["score"] for item in answer["items"]), default=1.0)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for header in ("", "", "share of each past event", "score", "= events", "+ popularity"):
        table.add_column(header, no_wrap=True)
    for item in answer["items"]:
        title = Text(item["title"])
        title.truncate(26, overflow="ellipsis")
        events = sum(share["share"] for share in item["evidence"])
        numbers = (f"{number:.4f}" for number in (item["score"], events, item["prior"]))
        bar = _bar(item, mark_of, WIDTH / longest)
        table.add_row(str(item["rank"]), title, bar, *numbers)
    return table


def legend(answer: dict[str, Any]) -> Columns:
    """Which mark is which past event."""
    events = _events(answer)
    named = [(mark, did(events[event])) for event, mark in _marks(answer).items()]
    if len(events) > len(named):
        named.append((OTHERS, "other events"))
    named.append((PRIOR, "popularity"))
    return Columns([Text.assemble(mark, " ", name) for mark, name in named])


def did(share: dict[str, Any]) -> str:
    """What a share's event was, in a few words."""
    title = share["title"] or share["item_id"] or share["type"]
    if share["type"] == "rating":
        return f"{title} ({share['value']:g}/5)"
    return f"{title} ({share['type']})"


def _events(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {share["event_id"]: share for item in answer["items"] for share in item["evidence"]}


def _marks(answer: dict[str, Any]) -> dict[str, Mark]:
    """The events that add most over all items, each with its mark."""
    total: dict[str, float] = defaultdict(float)
    for item in answer["items"]:
        for share in item["evidence"]:
            total[share["event_id"]] += max(share["share"], 0.0)
    adding = [event for event in total if total[event] > 0]
    most = sorted(adding, key=lambda event: (-total[event], event))[: len(MARKS)]
    return dict(zip(most, MARKS, strict=False))


def _bar(item: dict[str, Any], mark_of: dict[str, Mark], scale: float) -> Text:
    """The positive shares side by side, marked ones first; rounding errors never add up."""
    parts: dict[Mark, float] = dict.fromkeys([*mark_of.values(), OTHERS, PRIOR], 0.0)
    for share in item["evidence"]:
        parts[mark_of.get(share["event_id"], OTHERS)] += max(share["share"], 0.0)
    parts[PRIOR] += item["prior"]
    shrunk = item["score"] / (sum(parts.values()) or 1.0)  # negative shares shorten the bar
    bar, drawn, end = Text(), 0, 0.0
    for (glyph, colour), share in parts.items():
        end += share * shrunk * scale
        bar.append(glyph * (round(end) - drawn), colour)
        drawn = round(end)
    return bar
