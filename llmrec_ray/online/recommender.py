"""The online half: questions in, ranked items with evidence out; events in, answers changed.

An answer is computed from one generation; when a shard does not hold it, the call is repeated once
on what is current by then, or else on the previous one.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b

from llmrec_ray.errors import (
    GenerationMissing,
    SearchUnavailable,
)
from llmrec_ray.explain.evidence import Facts, facts_of
from llmrec_ray.explain.explainer import Explainer, How, Piece
from llmrec_ray.feedback.elsewhere import Elsewhere
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.items.log import ItemLog
from llmrec_ray.online.answering import Answering, Inputs, answer_of, check_filter, no_item
from llmrec_ray.online.forgetting import Receipt, forget_event, forget_user
from llmrec_ray.online.intake import Intake, Learned
from llmrec_ray.online.interleave import interleaved
from llmrec_ray.online.replay import AsOf, Recalled, Replay, manifest_of, question_of, under_its_id
from llmrec_ray.online.reviews import Reviews
from llmrec_ray.online.shares import part
from llmrec_ray.online.users import Users
from llmrec_ray.ports import EventStore, ObjectStore, QueryEmbedder, ReviewReader, Searcher
from llmrec_ray.timing import stage
from llmrec_ray.types import (
    Event,
    Explanation,
    Item,
    ItemQuery,
    Metric,
    NearQuery,
    Recommendations,
    RecommendRequest,
    Scope,
)

CITABLE = 8
"""Events of an item that an explanation may choose from: its largest positive shares."""


class Recommender:
    """Answers from one generation at a time; holds caches, and nothing that must last."""

    def __init__(
        self,
        *,
        generations: Pinned,
        searcher: Searcher,
        embedder: QueryEmbedder,
        events: EventStore,
        objects: ObjectStore,
        shown: ShownLog,
        explainer: Explainer,
        reader: ReviewReader | None = None,
        history: int = 500,
        cached: int = 10_000,
        items: ItemLog | None = None,
    ) -> None:
        self._generations = generations
        self._searcher = searcher
        self._embedder = embedder
        self._events = events
        self._objects = objects
        self._shown = shown
        self._explainer = explainer
        self._reviews = Reviews(events, reader)
        self._users = Users(
            events, searcher, history=history, cached=cached, unread=self._reviews.later
        )
        self._now = Inputs(self._users, embedder, self._reviews.readings, history)
        self._answering = Answering(searcher)
        self._intake = Intake(
            events, self._reviews, generations=generations, searcher=searcher, items=items
        )
        self._elsewhere = Elsewhere(events)

    async def recommend(self, request: RecommendRequest) -> Recommendations:
        """Rank the catalogue for a user, a session, a text or all three.

        Raises `InvalidFilter`, `NotReady`, `SearchUnavailable`, and `EmbedderUnavailable` where a
        text is given.
        """
        shown = await self._generations.ask(
            lambda manifest: self._answering.answer(request, manifest, self._now)
        )
        self._shown.add(shown.user_id, shown.answer, shown.question)
        return shown.answer

    async def replay(self, recommendation_id: str) -> Replay:
        """Compute a stored recommendation again, from its generation, user version and question.

        Raises `NotFound`, `Erased`, `NotReplayable`, `GenerationNotFound`, `SearchUnavailable`.
        """
        shown = await asyncio.to_thread(self._events.shown, recommendation_id)
        question = question_of(shown)
        generation = shown.answer.generation
        manifest = await asyncio.to_thread(
            manifest_of, generation, self._generations, self._objects
        )
        past = AsOf(self._events, shown.answer.user_version or 0)
        users = Users(past, self._searcher, history=question.history, cached=1)
        recalled = Recalled(question.vector, question.readings)
        then = Inputs(users, recalled, recalled.read, question.history)
        again = await self._answering.answer(question.request, manifest, then)
        return under_its_id(shown.answer, again.answer)

    async def similar(self, item_id: str, metric: Metric, scope: Scope) -> Recommendations:
        """The items whose text vectors are nearest to an item's; raises `ItemNotFound`."""

        async def ask(manifest: Manifest) -> Recommendations:
            check_filter(scope.filter, manifest)
            query = ItemQuery(item_id, metric, scope)
            with stage("search"):
                found = await self._searcher.near_item(manifest.generation, query)
            return answer_of(found, manifest)

        return await self._generations.ask(ask)

    async def search(self, text: str, metric: Metric, scope: Scope) -> Recommendations:
        """The items whose text vectors are nearest to a text's; raises `EmbedderUnavailable`."""
        with stage("embed"):
            vector = await self._embedder.embed(text)

        async def ask(manifest: Manifest) -> Recommendations:
            check_filter(scope.filter, manifest)
            query = NearQuery(vector, metric, scope)
            with stage("search"):
                found = await self._searcher.near(manifest.generation, query)
            return answer_of(found, manifest)

        return await self._generations.ask(ask)

    async def item(self, item_id: str) -> tuple[str, Item]:
        """The generation asked and the item in it; raises `ItemNotFound`."""

        async def ask(manifest: Manifest) -> tuple[str, Item]:
            looked = await self._searcher.lookup(manifest.generation, [item_id])
            if item_id not in looked.items:
                raise no_item(item_id, looked.coverage)
            return manifest.generation, looked.items[item_id]

        return await self._generations.ask(ask)

    async def learn(self, events: Sequence[Event]) -> Learned:
        """Store events durably; those for unknown items or times to come are rejected one by one.

        Raises `EventConflict`, `EventStoreUnavailable`.
        """
        return await self._intake.learn(events)

    async def forget(self, user_id: str) -> Receipt:
        """Remove everything stored about a user; the user's next answer is a new user's."""
        self._users.forget(user_id)
        waiting = self._shown.forget(user_id)
        receipt = await asyncio.to_thread(forget_user, self._events, self._objects, user_id)
        self._users.forget(user_id)  # a request that ran meanwhile may have read the old history
        return replace(receipt, recommendations=receipt.recommendations + waiting)

    async def forget_event(self, event_id: str) -> Receipt:
        """Remove one event, and what may have been computed from it; `NotFound` without one."""
        receipt = await asyncio.to_thread(forget_event, self._events, self._objects, event_id)
        await self.follow_erasures()
        return receipt

    async def follow_erasures(self) -> None:
        """Drop from this process what another one, or the command line, has erased."""
        if keys := await asyncio.to_thread(self._elsewhere.look):
            self._users.forget_keys(keys)
            self._shown.forget_keys(keys)

    async def explain(
        self, answer: Recommendations, *, how: How, limit: int
    ) -> AsyncGenerator[Piece | Explanation, None]:
        """Sentences for the first `limit` items of an answer with evidence, as they are spoken.

        Pieces of different items interleave; each item ends with its `Explanation`.
        """
        streams = [
            self._explainer.stream(
                facts, how=how, seed=_seed(answer.recommendation_id, facts.item_id)
            )
            for facts in await self._facts(answer, limit)
        ]
        async for said in interleaved(streams):
            yield said

    async def _facts(self, answer: Recommendations, limit: int) -> list[Facts]:
        explained = [item for item in answer.items[:limit] if item.evidence is not None]
        ids = {item.item_id for item in explained}
        for item in explained:
            for_it = [s for s in part(item.evidence).shares if s.item_id and s.share > 0]
            ids |= {share.item_id for share in for_it[:CITABLE] if share.item_id}
        known: Mapping[str, Item] = {}
        with suppress(GenerationMissing, SearchUnavailable):  # the answer has the titles already
            known = (await self._searcher.lookup(answer.generation, sorted(ids))).items
        scale = self._generations.current().weights.rating_scale
        return [
            facts_of(
                known.get(item.item_id) or Item(item.item_id, item.title),
                part(item.evidence),
                known,
                self._explainer.evidence,
                rating_scale=scale,
            )
            for item in explained
        ]


def _seed(recommendation_id: str, item_id: str) -> int:
    """Differs between answers and items, and is the same when an answer is explained again."""
    return int.from_bytes(
        blake2b(f"{recommendation_id}/{item_id}".encode(), digest_size=4).digest()
    )
