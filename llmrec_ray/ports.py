"""What the library asks of the outside, as Protocols; each has a suite in tests/contract."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from llmrec_ray.types import (
    Event,
    Float32s,
    Found,
    Gathered,
    ItemQuery,
    Looked,
    NearQuery,
    Reading,
    Recommendations,
    ScoreQuery,
    Shares,
    Shown,
    WeightedEvent,
)


@dataclass(frozen=True, slots=True)
class Stat:
    """When an object was written, by the clock of its store, and its size."""

    modified: datetime
    bytes: int


class ObjectStore(Protocol):
    """Named immutable bytes. Keys are relative; every call may raise `StoreUnavailable`."""

    def get(self, key: str) -> bytes:
        """The object's bytes; `NotFound` where there is none."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write once: True when this call wrote it, False when the key exists already."""
        ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with `prefix`, sorted."""
        ...

    def stats(self, prefix: str) -> dict[str, Stat]:
        """Every object whose key starts with `prefix`, by key; its time may be in whole seconds."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Which model made a vector: configured name, hash of weights and prefixes, dimension."""

    name: str
    hash: str
    dim: int


class Embedder(Protocol):
    """Text to unit vectors, float32 [n, dim]; one encoder has one `info`."""

    @property
    def info(self) -> EncoderInfo: ...

    def passages(self, texts: Sequence[str]) -> Float32s: ...

    def queries(self, texts: Sequence[str]) -> Float32s: ...


class QueryEmbedder(Protocol):
    """The embedding pool as the online half sees it: a text to a unit vector, float32 [dim]."""

    async def embed(self, text: str) -> Float32s:
        """Raises `EmbedderUnavailable` where no replica answers before the deadline."""
        ...


class ReviewReader(Protocol):
    """The embedding pool as feedback sees it: a review's text to what is kept of it."""

    async def read(self, text: str) -> Reading:
        """Raises `EmbedderUnavailable` where no replica answers before the deadline."""
        ...


class PassageEmbedder(Protocol):
    """The embedding pool as writers of items see it."""

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        """Unit vectors float32 [texts, dim], and what made them; raises `EmbedderUnavailable`."""
        ...


class Searcher(Protocol):
    """The search group: a call goes to the shards, and says how many answered in time.

    Raises `GenerationMissing` where a shard does not hold the generation, `SearchUnavailable` where
    none answers.
    """

    async def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Gathered: ...

    async def score(self, generation: str, query: ScoreQuery) -> Found: ...

    async def near(self, generation: str, query: NearQuery) -> Found: ...

    async def near_item(self, generation: str, query: ItemQuery) -> Found:
        """Raises `ItemNotFound`; `SearchUnavailable` also where the item's shard is lost."""
        ...

    async def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Shares:
        """Shares through taste and text, for targets [p ; t] float32 [targets, dims]."""
        ...

    async def lookup(self, generation: str, item_ids: Sequence[str]) -> Looked: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat prompt, the grammar (EBNF of xgrammar) of its answer, and a sampling seed."""

    system: str
    user: str
    grammar: str
    seed: int
    max_tokens: int


class Generator(Protocol):
    """A language model that streams pieces of text; closing the iterator cancels the generation."""

    def generate(self, prompt: Prompt) -> AsyncIterator[str]:
        """Raises `GeneratorUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a batch of events; `user_versions` has every user of the batch."""

    accepted: int
    duplicates: int
    user_versions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a table of events; `erased` ones were forgotten before, and stay so."""

    accepted: int
    duplicates: int
    erased: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """A user's newest events, newest first by (time, event_id); version 0: never seen."""

    user_version: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """What was erased at `erased_at` had times from `first_event` on."""

    first_event: datetime
    erased_at: datetime


@dataclass(frozen=True, slots=True)
class Erasure:
    """What forgetting a user, or one event, removed, and the version that forgetting made.

    `spans` has this erasure and the earlier ones of the same user or event that removed events:
    asked again, a store still tells what may have been learned from them.
    """

    events: int
    recommendations: int
    user_version: int
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class ErasedKey:
    """One erasure as those follow it who must not know the id: digests, see `feedback.rows`.

    Without `event_key` the whole user was erased.
    """

    number: int
    user_key: bytes
    event_key: bytes | None


class Histories(Protocol):
    """What a user did, by user version: the part of an event store that answers need."""

    def user_version(self, user_id: str) -> int: ...

    def history(self, user_id: str, limit: int) -> History: ...

    def readings(self, event_ids: Sequence[str], encoder: str, at: int) -> dict[str, Reading]: ...


class EventStore(Protocol):
    """Durable events, user versions, shown answers; may raise `EventStoreUnavailable`."""

    def append(self, events: Sequence[Event]) -> Accepted:
        """Store a batch atomically; an id with the same body is a duplicate.

        With another body it is an `EventConflict`, and nothing of the batch is stored. An id
        that `erase_event` erased is a duplicate too: to send it again must not bring it back.
        """
        ...

    def import_events(self, table: pa.Table, progress: Callable[[int], None]) -> Imported:
        """Store a table of `schemas.EVENTS_SCHEMA` in atomic batches, telling the rows of each.

        After an error the batches before it are stored; another try counts them as duplicates.
        Events that were erased, and those of an erased user from before the erasure, stay erased.
        """
        ...

    def user_version(self, user_id: str) -> int: ...

    def history(self, user_id: str, limit: int, at: int | None = None) -> History:
        """The newest events; with `at`, those that were stored when the user had that version."""
        ...

    def keep_readings(self, read: Mapping[str, Reading]) -> dict[str, int]:
        """Store what was read in reviews, by event id, once an encoder; the users' new versions.

        A review that is not stored, or was erased in the meantime, is left out.
        """
        ...

    def readings(self, event_ids: Sequence[str], encoder: str, at: int) -> dict[str, Reading]:
        """By event id, what that encoder read and was stored when the user had the version `at`."""
        ...

    def scan(self) -> Iterable[Event]:
        """Every event, by (user_id, time, event_id): what training reads."""
        ...

    def erase(self, user_id: str) -> Erasure:
        """Forget the user's events and recommendations; the user version advances."""
        ...

    def erase_event(self, event_id: str) -> Erasure:
        """Forget one event, and the user's recommendations that may have been computed from it.

        The user version advances; `NotFound` where no such event is stored.
        """
        ...

    def erasures(self, after: int) -> list[ErasedKey]:
        """The erasures with a number above `after`, in the order of their numbers."""
        ...

    def record(self, shown: Sequence[Shown]) -> None:
        """Store shown recommendations with their user ids; drop those past their time to live."""
        ...

    def recommendation(self, recommendation_id: str) -> Recommendations:
        """The answer of `shown`."""
        ...

    def shown(self, recommendation_id: str) -> Shown:
        """A stored recommendation; `Erased` where it was forgotten, else `NotFound`."""
        ...

    def check(self) -> None:
        """Raise where the store cannot be used now."""
        ...
