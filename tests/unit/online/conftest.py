"""The whole online half in one process, on real parts: folder store, SQLite, hashing encoder."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.embedding.sentiment import Sentiment
from llmrec_ray.errors import EmbedderUnavailable
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.local_shards import LocalShards
from llmrec_ray.online.live import LiveItems
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.settings import LearningSettings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Event, EventType, Float32s, Reading
from tests.support.films import catalogue

START = datetime(2026, 1, 1, tzinfo=UTC)


class Encoder:
    """The hashing encoder as the pool: queries and reviews; `lost` takes it away."""

    def __init__(self, dim: int = 64) -> None:
        self.model = HashingEmbedder(dim)
        self.sentiment = Sentiment(self.model)
        self.lost = False
        self.read_texts: list[str] = []

    async def embed(self, text: str) -> Float32s:
        return self.model.queries([text])[0]

    async def read(self, text: str) -> Reading:
        if self.lost:
            raise EmbedderUnavailable("no replica")
        self.read_texts.append(text)
        return self.sentiment.reading(self.model.queries([text])[0])

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        return self.model.passages(texts), self.model.info


@dataclass
class House:
    """A running library: what a request meets, and the stores behind it."""

    recommender: Recommender
    folder: Path
    events: SqlEventStore
    objects: FolderStore
    manifest: Manifest
    shards: list[Shard]
    pinned: Pinned
    shown: ShownLog
    encoder: Encoder
    live: LiveItems

    def did(
        self,
        user: str,
        item: str,
        kind: EventType = "like",
        *,
        at: int = 0,
        value: float | None = None,
        text: str | None = None,
    ) -> Event:
        """An event, `at` minutes after the start."""
        return Event(
            event_id=f"{user}-{item}-{kind}-{at}",
            user_id=user,
            item_id=item,
            type=kind,
            time=START + timedelta(minutes=at),
            value=value,
            text=text,
        )


def stand_up(folder: Path, shards: int) -> House:
    """Fresh objects over the stores in a folder: what a restarted service is."""
    objects = FolderStore(folder / "objects")
    events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600)
    manifest = Follower(objects).poll()
    assert manifest is not None
    group = [Shard(objects, n, shards, events.items) for n in range(shards)]
    for shard in group:
        shard.prepare(manifest)
    pinned = Pinned()
    pinned.offer(manifest, [frozenset(shard.held) for shard in group])
    shown = ShownLog(events, capacity=2_000)
    searcher, encoder = LocalShards(group), Encoder()
    recommender = Recommender(
        generations=pinned,
        searcher=searcher,
        embedder=encoder,
        reader=encoder,
        events=events,
        objects=objects,
        shown=shown,
        explainer=Explainer(None, deadline_s=1, max_tokens=64, evidence=2),
        items=events.items,
    )
    live = LiveItems(events.items, pinned, searcher, encoder)
    return House(
        recommender, folder, events, objects, manifest, group, pinned, shown, encoder, live
    )


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a house after its ingestion: every test stands on a copy."""
    folder = tmp_path_factory.mktemp("ingested")
    events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600)
    model = HashingEmbedder(dim=64)
    ingest(
        catalogue(folder),
        Sources(FolderStore(folder / "objects"), events, "test", events.items),
        embed=model.passages,
        encoder=model.info,
        learning=LearningSettings(),
        rejected=folder / "rejected",
    )
    events.close()
    return folder


@pytest.fixture
def house(tmp_path: Path, ingested: Path) -> Iterator[Callable[..., House]]:
    """house(shards=2): stand everything up on the small catalogue, or again on a house's folder."""
    opened: list[House] = []

    def make(shards: int = 2, name: str = "house", folder: Path | None = None) -> House:
        at = folder or Path(shutil.copytree(ingested, tmp_path / name))
        opened.append(stand_up(at, shards))
        return opened[-1]

    yield make
    for home in opened:
        home.shown.close()
        home.events.close()
