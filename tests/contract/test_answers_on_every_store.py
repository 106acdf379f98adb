"""The whole loop on folder and S3, SQLite and PostgreSQL: the same answers, bit for bit."""

import asyncio
from pathlib import Path

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.local_shards import LocalShards
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import ObjectStore
from llmrec_ray.settings import LearningSettings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Float32s, RecommendRequest
from tests.support.films import catalogue


class Encoder:
    """The hashing encoder as the query side of the pool."""

    async def embed(self, text: str) -> Float32s:
        return HashingEmbedder().queries([text])[0]


def answers(objects: ObjectStore, events_url: str, folder: Path) -> list[tuple[str, float]]:
    """Ingest the films into the stores, and answer a question that needs every part."""
    folder.mkdir()
    model = HashingEmbedder()
    with open_event_store(events_url, timeout_s=5, ttl_s=3600) as events:
        ingest(
            catalogue(folder),
            Sources(objects, events, "test"),
            embed=model.passages,
            encoder=model.info,
            learning=LearningSettings(),
            rejected=folder / "rejected",
        )
        manifest = Follower(objects).poll()
        assert manifest is not None
        shard = Shard(objects, 0, 1)
        shard.prepare(manifest)
        pinned = Pinned()
        pinned.offer(manifest, [frozenset(shard.held)])
        with ShownLog(events, capacity=10) as shown:
            recommender = Recommender(
                generations=pinned,
                searcher=LocalShards([shard]),
                embedder=Encoder(),
                events=events,
                objects=objects,
                shown=shown,
                explainer=Explainer(None),
            )
            request = RecommendRequest(user_id="u1", text="robots at sea", limit=20)
            answer = asyncio.run(recommender.recommend(request))
        assert events.recommendation(answer.recommendation_id) == answer
    return [(item.item_id, item.score) for item in answer.items]


def test_every_pair_of_stores_gives_the_same_answer(
    object_store: ObjectStore, event_store_url: str, tmp_path: Path
) -> None:
    there = answers(object_store, event_store_url, tmp_path / "there")
    plain = f"sqlite:///{tmp_path}/plain.db"
    here = answers(FolderStore(tmp_path / "plain"), plain, tmp_path / "here")
    assert there == here
    assert len(there) == 20
