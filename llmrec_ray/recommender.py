"""The online half: questions in, ranked items with evidence out; events in, answers changed.

Reads as a request runs: user state, gather, score, evidence, explain. An answer is computed from
one generation; when a shard does not hold it, the call is repeated once on the previous one.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from llmrec_ray.errors import GenerationMissing, ItemNotFound, NotReady, SearchUnavailable
from llmrec_ray.explain.evidence import Facts, facts_of
from llmrec_ray.explain.explainer import Explainer, How, Piece
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.feedback.user import session
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.interleave import interleaved
from llmrec_ray.ports import Erasure, EventStore, QueryEmbedder, Searcher
from llmrec_ray.search.exact import text_addend
from llmrec_ray.search.filters import validate_filter
from llmrec_ray.shares import Pull, Spoken, part, prior_factor, taken_apart
from llmrec_ray.timing import stage
from llmrec_ray.types import (
    Coverage,
    Event,
    Evidence,
    Explanation,
    Filter,
    Found,
    Item,
    Metric,
    NearQuery,
    Recommendations,
    Recommended,
    RecommendRequest,
    Scope,
    ScoreQuery,
)
from llmrec_ray.users import Asker, Users

T = TypeVar("T")

CITABLE = 8
"""Events of an item that an explanation may choose from: its largest positive shares."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not stored, by its place in the batch."""

    index: int
    event_id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of a batch of events."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...]
    user_versions: dict[str, int]


class Recommender:
    """Answers from one generation at a time; holds caches, and nothing that must last."""

    def __init__(
        self,
        *,
        generations: Pinned,
        searcher: Searcher,
        embedder: QueryEmbedder,
        events: EventStore,
        shown: ShownLog,
        explainer: Explainer,
        history: int = 500,
        cached: int = 10_000,
    ) -> None:
        self._generations = generations
        self._searcher = searcher
        self._embedder = embedder
        self._events = events
        self._shown = shown
        self._explainer = explainer
        self._users = Users(events, searcher, history=history, cached=cached)

    async def recommend(self, request: RecommendRequest) -> Recommendations:
        """Rank the catalogue for a user, a session, a text or all three.

        Raises `InvalidFilter`, `NotReady`, `SearchUnavailable`, and `EmbedderUnavailable` where a
        text is given.
        """
        answer = await self._pinned(lambda manifest: self._recommend(request, manifest))
        self._shown.add(request.user_id, answer)
        return answer

    async def similar(self, item_id: str, metric: Metric, scope: Scope) -> Recommendations:
        """The items whose text vectors are nearest to an item's; raises `ItemNotFound`."""

        async def ask(manifest: Manifest) -> Recommendations:
            _check(scope.filter, manifest)
            looked = await self._searcher.lookup(manifest.generation, [item_id])
            if item_id not in looked.vectors:
                raise _no_item(item_id, looked.coverage)
            around = replace(scope, exclude=scope.exclude | {item_id})
            query = NearQuery(looked.vectors[item_id], metric, around)
            with stage("search"):
                found = await self._searcher.near(manifest.generation, query)
            return _answer(found, manifest)

        return await self._pinned(ask)

    async def search(self, text: str, metric: Metric, scope: Scope) -> Recommendations:
        """The items whose text vectors are nearest to a text's; raises `EmbedderUnavailable`."""
        with stage("embed"):
            vector = await self._embedder.embed(text)

        async def ask(manifest: Manifest) -> Recommendations:
            _check(scope.filter, manifest)
            query = NearQuery(vector, metric, scope)
            with stage("search"):
                found = await self._searcher.near(manifest.generation, query)
            return _answer(found, manifest)

        return await self._pinned(ask)

    async def item(self, item_id: str) -> tuple[str, Item]:
        """The generation asked and the item in it; raises `ItemNotFound`."""

        async def ask(manifest: Manifest) -> tuple[str, Item]:
            looked = await self._searcher.lookup(manifest.generation, [item_id])
            if item_id not in looked.items:
                raise _no_item(item_id, looked.coverage)
            return manifest.generation, looked.items[item_id]

        return await self._pinned(ask)

    async def learn(self, events: Sequence[Event]) -> Learned:
        """Store events durably; those for unknown items are rejected one by one.

        While a shard is lost its items cannot be told from unknown ones, and their events are
        accepted. Raises `EventConflict`, `EventStoreUnavailable`.
        """
        unknown = await self._unknown({event.item_id for event in events})
        rejected = tuple(
            Rejected(index, event.event_id, ItemNotFound.code, f"no item {event.item_id!r}.")
            for index, event in enumerate(events)
            if event.item_id in unknown
        )
        known = [event for event in events if event.item_id not in unknown]
        stored = await asyncio.to_thread(self._events.append, known)
        return Learned(stored.accepted, stored.duplicates, rejected, stored.user_versions)

    async def forget(self, user_id: str) -> Erasure:
        """Remove everything stored about a user; the user's next answer is a new user's."""
        self._users.forget(user_id)
        waiting = self._shown.forget(user_id)
        receipt = await asyncio.to_thread(self._events.erase, user_id)
        return replace(receipt, recommendations=receipt.recommendations + waiting)

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

    # ── one recommendation ───────────────────────────────────────────────────────────────────────

    async def _recommend(self, request: RecommendRequest, manifest: Manifest) -> Recommendations:
        _check(request.filter, manifest)
        asker = await self._users.of(request.user_id, manifest)
        pull = await self._pull(request, asker, manifest)
        seen = asker.state.seen | {item.item_id for item in request.session}
        exclude = request.exclude_ids | seen if request.exclude_seen else request.exclude_ids
        query = ScoreQuery(
            events=pull.events,
            vector=pull.vector,
            prior=prior_factor(pull, manifest.mix),
            scope=Scope(request.limit, request.filter, exclude),
            with_parts=request.evidence,
        )
        with stage("search"):
            found = await self._searcher.score(manifest.generation, query)
        found = replace(found, coverage=reduce(Coverage.__and__, pull.coverages, found.coverage))
        evidence: dict[str, Evidence] = {}
        version = asker.state.user_version if request.user_id is not None else None
        with stage("rank"):
            if request.evidence:
                evidence = await self._evidence(found, pull, manifest)
            return _answer(found, manifest, evidence, user_version=version, degraded=asker.degraded)

    async def _pull(self, request: RecommendRequest, asker: Asker, manifest: Manifest) -> Pull:
        """Everything that pulls: the user's events, the session's, and the text."""
        events, vector = asker.state.events, asker.vector
        coverages = [asker.coverage] if asker.coverage else []
        if request.session:
            visited = session(request.session, manifest.weights.recency)
            with stage("gather"):
                gathered = await self._searcher.gather(manifest.generation, visited)
            events, vector = (*events, *visited), vector + gathered.vector
            coverages.append(gathered.coverage)
        spoken = None
        if request.text is not None:
            with stage("embed"):
                embedded = await self._embedder.embed(request.text)
            addend = text_addend(embedded, manifest.mix, manifest.taste_dim)
            spoken = Spoken(request.text, addend)
            vector = vector + spoken.addend
        return Pull(events, vector, spoken, coverages)

    async def _evidence(self, found: Found, pull: Pull, manifest: Manifest) -> dict[str, Evidence]:
        """Take each candidate's score apart, event by event."""
        if not found.candidates:
            return {}
        targets = np.stack([part(candidate.vector) for candidate in found.candidates])
        ids = list(dict.fromkeys(event.item_id for event in pull.events))
        shares, looked = await asyncio.gather(
            self._searcher.shares(manifest.generation, pull.events, targets),
            self._searcher.lookup(manifest.generation, ids),
        )
        titles = {item_id: item.title for item_id, item in looked.items.items()}
        return {
            candidate.item_id: taken_apart(candidate, pull, shares.by_vectors[:, at], titles)
            for at, candidate in enumerate(found.candidates)
        }

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

    # ── one generation ───────────────────────────────────────────────────────────────────────────

    async def _pinned(self, ask: Callable[[Manifest], Awaitable[T]]) -> T:
        current = self._generations.current()
        try:
            return await ask(current)
        except GenerationMissing:
            previous = self._generations.previous()
            if previous is None:
                raise
            return await ask(previous)

    async def _unknown(self, item_ids: set[str]) -> frozenset[str]:
        """The ids that no shard has; none of them while a shard is lost."""

        async def ask(manifest: Manifest) -> frozenset[str]:
            looked = await self._searcher.lookup(manifest.generation, sorted(item_ids))
            return frozenset(item_ids - set(looked.items) if looked.coverage.complete else ())

        try:
            return await self._pinned(ask)
        except (SearchUnavailable, NotReady):
            return frozenset()


def _check(condition: Filter | None, manifest: Manifest) -> None:
    if condition is not None:
        validate_filter(condition, {name: spec.kind for name, spec in manifest.fields.items()})


def _no_item(item_id: str, coverage: Coverage) -> ItemNotFound | SearchUnavailable:
    if coverage.complete:
        return ItemNotFound(f"the catalogue has no item {item_id!r}.", item_id=item_id)
    return SearchUnavailable(
        f"item {item_id!r} may be on a shard that does not answer now; try again shortly."
    )


def _answer(
    found: Found,
    manifest: Manifest,
    evidence: Mapping[str, Evidence] | None = None,
    *,
    user_version: int | None = None,
    degraded: tuple[str, ...] = (),
) -> Recommendations:
    items = tuple(
        Recommended(
            candidate.item_id,
            candidate.title,
            candidate.score,
            rank,
            (evidence or {}).get(candidate.item_id),
        )
        for rank, candidate in enumerate(found.candidates, start=1)
    )
    lost = () if found.coverage.complete else ("search",)
    return Recommendations(
        recommendation_id=uuid.uuid4().hex,
        generation=manifest.generation,
        user_version=user_version,
        items=items,
        coverage=found.coverage,
        degraded=lost + degraded,
    )


def _seed(recommendation_id: str, item_id: str) -> int:
    """Differs between answers and items, and is the same when an answer is explained again."""
    return int.from_bytes(
        blake2b(f"{recommendation_id}/{item_id}".encode(), digest_size=4).digest()
    )
