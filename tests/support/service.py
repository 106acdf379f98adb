"""The whole HTTP service in one process, of real parts that tests can break."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI

from llmrec_ray.api_keys import Keyring
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.embedding.sentiment import Sentiment
from llmrec_ray.errors import EmbedderUnavailable, EventStoreUnavailable
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.items.log import PAGE, ItemChange, ItemWrite, Written
from llmrec_ray.online.live import LiveItems
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.pipeline import Ingested, Sources, ingest
from llmrec_ray.ports import EncoderInfo, EventStore, Generator, Prompt
from llmrec_ray.settings import LearningSettings, LimitSettings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Float32s, Reading
from serve.calls.handles import PoolEmbedder, PoolReader, ShardSearcher
from serve.calls.mailbox import Mailbox, Sharing
from serve.calls.passages import PoolPassages
from serve.calls.questions import Question, answer_now
from serve.generations import StoredGenerations
from serve.http.api import create_app
from serve.http.service import Service
from serve.observe.meters import LocalMeters
from serve.observe.requests import counted_explanations
from serve.shards import ShardState
from serve.watch import Probes, Told, Watch
from tests.support.films import catalogue


@dataclass
class Breakable:
    """A shard behind its mailbox; `lost` makes its calls fail, `stuck` makes them hang."""

    shard: Shard
    lost: bool = False
    stuck: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, questions: Sequence[Question[object]]) -> list[object]:
        self.asked.set()
        if self.stuck:
            await asyncio.Event().wait()
        if self.lost:
            raise ConnectionError("the replica died")
        return await asyncio.to_thread(answer_now, self.shard, questions)

    async def states(self) -> Told[ShardState]:
        return Told(0, []) if self.lost else Told(1, [ShardState(self.shard.held)])


@dataclass
class Model:
    """The embedding pool; `lost` makes it fail."""

    encoder: HashingEmbedder = field(default_factory=HashingEmbedder)
    lost: bool = False

    async def embed(self, text: str) -> Float32s:
        if self.lost:
            raise EmbedderUnavailable("no replica")
        return self.encoder.queries([text])[0]

    async def read(self, text: str) -> Reading:
        return Sentiment(self.encoder).reading(await self.embed(text))

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        if self.lost:
            raise EmbedderUnavailable("no replica")
        return self.encoder.passages(texts), self.encoder.info

    async def info(self) -> Told[EncoderInfo]:
        return Told(0, []) if self.lost else Told(1, [self.encoder.info])


@dataclass
class Endless:
    """A generator that says nothing until it is cancelled."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        self.started.set()
        try:
            await asyncio.Event().wait()
            yield prompt.user
        finally:
            self.cancelled.set()


class Events:
    """An event store that `lost` takes away."""

    def __init__(self, store: SqlEventStore) -> None:
        self.store = store
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        if self.lost:
            raise EventStoreUnavailable("the database is away")
        return getattr(self.store, name)


class Items:
    """The item log of an event store that may be lost."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def write(self, changes: Sequence[ItemWrite], above: int = 0) -> list[Written]:
        return self._events.items.write(changes, above)

    def since(self, seq: int, limit: int = PAGE) -> list[ItemChange]:
        return self._events.items.since(seq, limit)

    def current(self, item_ids: Collection[str]) -> dict[str, ItemChange]:
        return self._events.items.current(item_ids)


@dataclass
class House:
    """Everything behind the HTTP interface, and the interface itself."""

    app: FastAPI
    service: Service
    folder: Path
    objects: FolderStore
    events: Events
    shown: ShownLog
    shards: list[Breakable]
    model: Model
    watch: Watch
    made: Ingested
    meters: LocalMeters

    @property
    def _event_store(self) -> EventStore:
        return cast(EventStore, self.events)

    def ingest(self) -> Ingested:
        """Publish and activate the catalogue anew."""
        return _ingest(self.folder, self.objects, self._event_store, self.model.encoder)

    async def catch_up(self) -> None:
        """What the shards' background tasks do to follow live items, once."""
        for breakable in self.shards:
            await asyncio.to_thread(breakable.shard.catch_up)

    async def take_up(self) -> None:
        """What the shards' and the ingress' background tasks do, once."""
        for breakable in self.shards:
            manifest = Follower(self.objects).poll()
            if manifest is not None:
                breakable.shard.prepare(manifest)
        await self.watch.look()

    def close(self) -> None:
        self.events.lost = False
        self.shown.close()
        self.events.close()


def build_house(
    folder: Path,
    *,
    shards: int = 2,
    limits: LimitSettings | None = None,
    generator: Generator | None = None,
    sharing: Sharing | None = None,
    keys: Keyring | None = None,
) -> House:
    """Ingest a small catalogue and stand the service up on it; `take_up` loads it."""
    objects = FolderStore(folder / "objects")
    events = Events(open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600))
    store = cast(EventStore, events)
    model = Model()
    made = _ingest(folder, objects, store, model.encoder)
    group = [Breakable(Shard(objects, shard, shards, Items(events))) for shard in range(shards)]
    pinned = Pinned()
    watch = Watch(
        Follower(objects),
        pinned,
        Probes(
            shards=[breakable.states for breakable in group],
            encoder=model.info,
            generator=_speaks,
            events=lambda: events.check(),  # noqa: PLW0108 looked up at each call
        ),
        poll_s=60,
    )
    sharing = sharing or Sharing(deadline_s=5, shared=32, pending=100)
    shown = ShownLog(store, capacity=100)
    counted = LocalMeters()
    searcher = ShardSearcher([Mailbox(breakable, sharing) for breakable in group])
    recommender = Recommender(
        generations=pinned,
        searcher=searcher,
        embedder=PoolEmbedder(model.embed, deadline_s=5, cached=10),
        reader=PoolReader(model.read, deadline_s=5),
        events=store,
        objects=objects,
        shown=shown,
        explainer=Explainer(generator, deadline_s=30, told=counted_explanations(counted)),
        items=Items(events),
    )
    service = Service(
        recommender,
        watch,
        StoredGenerations(objects, lambda: watch.encoder),
        limits or LimitSettings(),
        keys or Keyring(),
        counted,
        items=LiveItems(
            Items(events), pinned, searcher, PoolPassages(model.passages, deadline_s=5)
        ),
    )
    app = create_app(service)
    return House(app, service, folder, objects, events, shown, group, model, watch, made, counted)


async def _speaks() -> Told[str]:
    return Told(1, ["a model"])


def _ingest(
    folder: Path, objects: FolderStore, events: EventStore, encoder: HashingEmbedder
) -> Ingested:
    return ingest(
        catalogue(folder),
        Sources(objects, events, "test", cast(SqlEventStore, events).items),
        embed=encoder.passages,
        encoder=encoder.info,
        learning=LearningSettings(),
        rejected=folder / "rejected",
        progress=lambda *_: None,
    )
