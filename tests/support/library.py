"""The library as a service of one process, over the stores in a folder: a restart makes it anew."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.local_shards import LocalShards
from llmrec_ray.recommender import Recommender
from llmrec_ray.shard import Shard
from llmrec_ray.types import Float32s
from tests.support.generations import FaultyStore
from tests.support.naive import TEXT_DIM


class Encoder:
    """The encoder of queries; the model asks the same one. `meanwhile` runs once, in a call."""

    def __init__(self) -> None:
        self.model = HashingEmbedder(dim=TEXT_DIM)
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def embed(self, text: str) -> Float32s:
        work, self.meanwhile = self.meanwhile, None
        if work is not None:
            await work()
        return self.model.queries([text])[0]


class Service:
    """What runs online, in one process: fresh objects over the stores in a folder."""

    def __init__(self, folder: Path, store: FaultyStore, shards: int) -> None:
        self.store = store
        self.encoder = Encoder()
        self._follower = Follower(store)
        self._pinned = Pinned()
        self.shards = [Shard(store, number, shards) for number in range(shards)]
        self._events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600)
        self._shown = ShownLog(self._events, capacity=2_000)
        self.recommender = Recommender(
            generations=self._pinned,
            searcher=LocalShards(self.shards),
            embedder=self.encoder,
            events=self._events,
            objects=store,
            shown=self._shown,
            explainer=Explainer(None, deadline_s=1),
        )

    def look(self) -> None:
        """What every poll does: follow the activations, load, and move on where all have loaded."""
        manifest = self._follower.poll()
        if manifest is None:
            return
        for shard in self.shards:
            shard.prepare(manifest)
        self._pinned.offer(manifest, [frozenset(shard.held) for shard in self.shards])

    def close(self) -> None:
        self._shown.close()
        self._events.close()
