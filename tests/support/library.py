"""The library as a service of one process, over the stores in a folder: a restart makes it anew."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import EventStoreUnavailable
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.buckets import bucket_of, shard_buckets
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.items.log import PAGE, ItemChange, ItemLog, ItemWrite, Written
from llmrec_ray.local_shards import LocalShards
from llmrec_ray.online.live import LiveItems
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.shard import Shard
from llmrec_ray.types import Float32s, IndexKind
from tests.support.generations import FaultyStore
from tests.support.naive import TEXT_DIM


class Encoder:
    """The encoder of queries and live items; the model asks the same one.

    `meanwhile` runs once, in a call.
    """

    def __init__(self) -> None:
        self.model = HashingEmbedder(dim=TEXT_DIM)
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def embed(self, text: str) -> Float32s:
        work, self.meanwhile = self.meanwhile, None
        if work is not None:
            await work()
        return self.model.queries([text])[0]

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        return self.model.passages(texts), self.model.info


@dataclass
class FaultyLog:
    """The item log, which may be down for its readers."""

    inner: ItemLog
    down: bool = False

    def write(self, changes: Sequence[ItemWrite], above: int = 0) -> list[Written]:
        return self.inner.write(changes, above)

    def since(self, seq: int, limit: int = PAGE) -> list[ItemChange]:
        if self.down:
            raise EventStoreUnavailable("the log was made to fail")
        return self.inner.since(seq, limit)

    def current(self, item_ids: Collection[str]) -> dict[str, ItemChange]:
        return self.inner.current(item_ids)


class Service:
    """What runs online, in one process: fresh objects over the stores in a folder."""

    def __init__(
        self,
        folder: Path,
        store: FaultyStore,
        shards: int,
        *,
        index: IndexKind = "auto",
        originals: Path | None = None,
    ) -> None:
        self.store = store
        self.encoder = Encoder()
        self._follower = Follower(store)
        self._pinned = Pinned()
        self._events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600)
        self.log = FaultyLog(self._events.items)
        self.shards = [
            Shard(store, number, shards, self.log, index=index, originals=originals)
            for number in range(shards)
        ]
        self._shown = ShownLog(self._events, capacity=2_000)
        searcher = LocalShards(self.shards)
        self.live = LiveItems(self.log, self._pinned, searcher, self.encoder)
        self.recommender = Recommender(
            generations=self._pinned,
            searcher=searcher,
            embedder=self.encoder,
            events=self._events,
            objects=store,
            shown=self._shown,
            explainer=Explainer(None, deadline_s=1),
            items=self.log,
        )

    def look(self) -> None:
        """What every poll does: follow the activations, load, and move on where all have loaded."""
        manifest = self._follower.poll()
        if manifest is None:
            return
        for shard in self.shards:
            shard.prepare(manifest)
        self._pinned.offer(manifest, [frozenset(shard.held) for shard in self.shards])

    def owner(self, item_id: str) -> int:
        """The shard of an item."""
        bucket, count = bucket_of(item_id), len(self.shards)
        return next(n for n in range(count) if bucket in shard_buckets(n, count))

    def positions(self, generation: str) -> list[int]:
        """Up to where every shard has applied the item log to a generation it holds."""
        found = [shard.position(generation) for shard in self.shards]
        return [position for position in found if position is not None]

    def coded(self, generation: str) -> bool:
        """Whether a shard looks candidates of a generation up in an index of codes."""
        held = [shard._loaded.now().get(generation) for shard in self.shards]
        return any(loaded is not None and loaded.index is not None for loaded in held)

    def close(self) -> None:
        self._shown.close()
        self._events.close()
