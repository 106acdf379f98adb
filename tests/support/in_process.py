"""The library without Ray, over given stores: requests' bodies in, the answers of HTTP out."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from llmrec_ray.embedding.sentiment import Sentiment
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.ports import Embedder, EventStore, ObjectStore
from llmrec_ray.shard import Shard
from llmrec_ray.types import Float32s, Reading
from serve.calls.handles import PoolEmbedder, PoolReader, ShardSearcher
from serve.calls.mailbox import Mailbox, Send, Sharing
from serve.calls.questions import Question, answer_now
from serve.http.answers import recommendations_answer
from serve.http.messages import RecommendationsRequest

DEADLINE_S = 60.0


def recommended(
    objects: ObjectStore,
    events: EventStore,
    embedder: Embedder,
    bodies: Sequence[dict[str, Any]],
    *,
    shards: int,
) -> list[dict[str, Any]]:
    """What `POST /v1/recommendations` would answer to each body, with this many shards."""

    async def ask_all() -> list[dict[str, Any]]:
        async with _recommender(objects, events, embedder, shards) as recommender:
            found: list[dict[str, Any]] = []
            for body in bodies:
                asked = RecommendationsRequest.model_validate(body)
                made = await recommender.recommend(asked.to_request())
                shown = recommendations_answer(made, evidence=asked.evidence, took_ms=0)
                found.append(shown.model_dump(mode="json", exclude_none=True))
            return found

    return asyncio.run(ask_all())


@asynccontextmanager
async def _recommender(
    objects: ObjectStore, events: EventStore, embedder: Embedder, shards: int
) -> AsyncGenerator[Recommender]:
    manifest = Follower(objects).poll()
    assert manifest is not None
    group = [Shard(objects, shard, shards) for shard in range(shards)]
    for shard in group:
        shard.prepare(manifest)
    pinned = Pinned()
    pinned.offer(manifest, [frozenset(shard.held) for shard in group])
    sharing = Sharing(deadline_s=DEADLINE_S, shared=32, pending=100)
    shown = ShownLog(events, capacity=100)
    sentiment = Sentiment(embedder)

    async def embed(text: str) -> Float32s:
        return embedder.queries([text])[0]

    async def read(text: str) -> Reading:
        return sentiment.reading(await embed(text))

    yield Recommender(
        generations=pinned,
        searcher=ShardSearcher([Mailbox(_asked(shard), sharing) for shard in group]),
        embedder=PoolEmbedder(embed, deadline_s=DEADLINE_S, cached=10),
        reader=PoolReader(read, deadline_s=DEADLINE_S),
        events=events,
        objects=objects,
        shown=shown,
        explainer=Explainer(None, deadline_s=DEADLINE_S),
    )
    shown.close()


def _asked(shard: Shard) -> Send:
    async def send(questions: Sequence[Question[object]]) -> list[object]:
        return answer_now(shard, questions)

    return send
