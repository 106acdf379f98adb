"""A catalogue description and its event files come in; coded items and users' pasts go out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np

from llmrec_ray.catalog.clean import Cleaned, clean_catalog
from llmrec_ray.catalog.description import CatalogDescription
from llmrec_ray.catalog.events import read_events
from llmrec_ray.catalog.text import item_texts
from llmrec_ray.errors import InvalidCatalog
from llmrec_ray.feedback.rows import table_events
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.storage.columns import texts
from llmrec_ray.types import Bools, Event, Float32s, Ints

Embed = Callable[[Sequence[str]], Float32s]

UPPER_PART = 0.75
"""A value is relevant from this place of its scale on: 4 on 1–5, and on 0.5–5 in halves."""

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Catalog:
    """The items that can be ranked; an item's code is its row."""

    cleaned: Cleaned
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    embed: Embed
    encoder: EncoderInfo

    @property
    def vectors(self) -> Float32s:
        """The system's own text vectors, float32 [items, dim].

        Made when they are asked for, of the items that a split kept alone; a cache remembers them.
        """
        return self.embed(self.texts)

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, rows: Ints) -> "Catalog":
        """The catalogue of these rows alone, int64 [rows]."""
        kept = cast("list[int]", rows.tolist())
        return Catalog(
            replace(self.cleaned, items=self.cleaned.items.take(rows)),
            tuple(self.ids[row] for row in kept),
            tuple(self.texts[row] for row in kept),
            self.embed,
            self.encoder,
        )


@dataclass(frozen=True, slots=True)
class Past:
    """One user's events, oldest first, and their items' codes, int64 [events]."""

    user_id: str
    events: tuple[Event, ...]
    codes: Ints

    def __len__(self) -> int:
        return len(self.events)

    def until(self, stop: int) -> "Past":
        """The oldest `stop` events."""
        return Past(self.user_id, self.events[:stop], self.codes[:stop])

    def kept(self, which: Bools) -> "Past":
        """The events that `which`, bool [events], marks."""
        events = tuple(e for e, keep in zip(self.events, which, strict=True) if keep)
        return Past(self.user_id, events, self.codes[which])


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: what comes next after `past`, where `masked` items are no answers.

    `targets` and `masked` are int64 codes without repeats, and share none.
    """

    past: Past
    targets: Ints
    masked: Ints


class Ranker(Protocol):
    """A fitted system."""

    def rank(self, asks: Sequence[Ask], allowed: Bools, limit: int) -> Ints:
        """The best codes among `allowed`, bool [items], as int64 [asks, limit], padded with -1."""
        ...


class System(Protocol):
    """What is evaluated."""

    @property
    def name(self) -> str: ...

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker: ...


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that one evaluation reads: relevant events only, users by id.

    `timed` says that times are times, and not only an order within a user; `relevant_from` is the
    value from which an event is relevant, None where no event has a value.
    """

    catalog: Catalog
    pasts: tuple[Past, ...]
    timed: bool
    relevant_from: float | None
    events: int


def read_data(
    description: CatalogDescription,
    embed: Embed,
    encoder: EncoderInfo,
    *,
    relevant_from: float | None = None,
) -> Data:
    """Read and clean; raises `InvalidCatalog` where there is nothing to evaluate with."""
    described = description.events
    if described is None:
        raise InvalidCatalog(
            "the description has no events to evaluate with. Add `events:` with files and columns.",
            field="events",
        )
    if described.columns.time is None and described.columns.order is None:
        raise InvalidCatalog(
            "events.columns: there is neither a time nor an order, so nothing can be called later."
            " Add `time: COLUMN` or `order: COLUMN`.",
            field="events.columns",
        )
    cleaned = clean_catalog(description)
    ids = tuple(texts(cleaned.items, ITEM_ID))
    events = [
        event
        for batch in table_events(read_events(description, ids).events, _BATCH)
        for event in batch
    ]
    threshold = relevant_from if relevant_from is not None else upper_part(events)
    said = tuple(item_texts(cleaned.items, description))
    return Data(
        Catalog(cleaned, ids, said, embed, encoder),
        pasts_of((event for event in events if is_relevant(event, threshold)), ids),
        described.columns.time is not None,
        threshold,
        len(events),
    )


def upper_part(events: Iterable[Event]) -> float | None:
    """From where a value lies in the upper part of the scale that the events use."""
    values = [event.value for event in events if event.value is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    return low + UPPER_PART * (high - low)


def is_relevant(event: Event, threshold: float | None) -> bool:
    """Whether an event says that its user wanted the item: without a value all but dislikes do."""
    if event.type == "dislike":
        return False
    return event.value is None or threshold is None or event.value >= threshold


def pasts_of(events: Iterable[Event], ids: Sequence[str]) -> tuple[Past, ...]:
    """Group by user, in order of user id; oldest first, equal times in the catalogue's order."""
    code_of = {item_id: code for code, item_id in enumerate(ids)}
    of_user: dict[str, list[tuple[Event, int]]] = {}
    for event in events:
        if (code := code_of.get(event.item_id)) is not None:
            of_user.setdefault(event.user_id, []).append((event, code))
    pasts: list[Past] = []
    for user_id in sorted(of_user):
        ordered = sorted(of_user[user_id], key=lambda pair: (pair[0].time, pair[1]))
        codes = np.array([code for _, code in ordered], dtype=np.int64)
        pasts.append(Past(user_id, tuple(event for event, _ in ordered), codes))
    return tuple(pasts)
