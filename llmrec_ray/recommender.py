"""The online half: a question in, ranked items with their evidence out; events in, the next answer
changed.

Reads as a request runs: user state, gather, score, evidence, explain. An answer is computed from
one generation; when a shard does not hold it, the call is repeated once on the previous one.
"""

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
from llmrec_ray.ports import Erasure, EventStore, QueryEmbedder, Searcher
from llmrec_ray.search.arithmetic import dots
from llmrec_ray.search.exact import scaled
from llmrec_ray.search.filters import validate_filter
from llmrec_ray.types import (
    Candidate,
    Coverage,
    Event,
    EventShare,
    Evidence,
    Explanation,
    Filter,
    Float64s,
    Found,
    Item,
    Metric,
    NearQuery,
    Recommendations,
    Recommended,
    RecommendRequest,
    Scope,
    ScoreQuery,
    WeightedEvent,
)
from llmrec_ray.users import Asker, Users

T = TypeVar("T")

QUERY = "query"
"""The event id and type of the request's own text among the shares."""

UNATTRIBUTED = "unattributed"
"""The event id and type of what events on a lost shard add."""

TOLERANCE = 1e-9

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
        """Rank the catalogue for a user, a session, a text or all three; a lost shard lowers
        coverage.

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
            return _answer(await self._searcher.near(manifest.generation, query), manifest)

        return await self._pinned(ask)

    async def search(self, text: str, metric: Metric, scope: Scope) -> Recommendations:
        """The items whose text vectors are nearest to a text's; raises `EmbedderUnavailable`."""
        vector = await self._embedder.embed(text)

        async def ask(manifest: Manifest) -> Recommendations:
            _check(scope.filter, manifest)
            query = NearQuery(vector, metric, scope)
            return _answer(await self._searcher.near(manifest.generation, query), manifest)

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
        """Store events durably; those for items that the catalogue does not have are rejected one
        by one.

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
        """Sentences for the first `limit` items of an answer that carries evidence, as they are
        spoken.

        Pieces of different items interleave; each item ends with its `Explanation`.
        """
        streams = [
            self._explainer.stream(
                facts, how=how, seed=_seed(answer.recommendation_id, facts.item_id)
            )
            for facts in await self._facts(answer, limit)
        ]
        async for said in _interleaved(streams):
            yield said

    # ── one recommendation ───────────────────────────────────────────────────────────────────────

    async def _recommend(self, request: RecommendRequest, manifest: Manifest) -> Recommendations:
        _check(request.filter, manifest)
        asker = await self._users.of(request.user_id, manifest)
        asked = await self._asked(request, asker, manifest)
        seen = asker.state.seen | {item.item_id for item in request.session}
        exclude = request.exclude_ids | seen if request.exclude_seen else request.exclude_ids
        query = ScoreQuery(
            events=asked.events,
            vector=asked.vector,
            prior=_prior_factor(asked, manifest),
            scope=Scope(request.limit, request.filter, exclude),
            with_parts=request.evidence,
        )
        found = await self._searcher.score(manifest.generation, query)
        found = replace(found, coverage=reduce(Coverage.__and__, asked.coverages, found.coverage))
        evidence: dict[str, Evidence] = {}
        if request.evidence:
            evidence = await self._evidence(found, asked, manifest)
        version = asker.state.user_version if request.user_id is not None else None
        return _answer(found, manifest, evidence, user_version=version, degraded=asker.degraded)

    async def _asked(self, request: RecommendRequest, asker: Asker, manifest: Manifest) -> "_Asked":
        """Everything that pulls: the user's events, the session's, and the text."""
        events, vector = asker.state.events, asker.vector
        coverages = [asker.coverage] if asker.coverage else []
        if request.session:
            visited = session(request.session, manifest.weights.recency)
            gathered = await self._searcher.gather(manifest.generation, visited)
            events, vector = (*events, *visited), vector + gathered.vector
            coverages.append(gathered.coverage)
        spoken = None
        if request.text is not None:
            embedded = await self._embedder.embed(request.text)
            spoken = _Spoken(request.text, scaled(embedded, manifest.mix.query, manifest.mix))
            vector = vector + spoken.addend
        return _Asked(events, vector, spoken, coverages)

    async def _evidence(
        self, found: Found, asked: "_Asked", manifest: Manifest
    ) -> dict[str, Evidence]:
        """Take each candidate's score apart, event by event."""
        if not found.candidates:
            return {}
        targets = np.stack([_part(candidate.vector) for candidate in found.candidates])
        ids = list(dict.fromkeys(event.item_id for event in asked.events))
        shares, looked = await asyncio.gather(
            self._searcher.shares(manifest.generation, asked.events, targets),
            self._searcher.lookup(manifest.generation, ids),
        )
        titles = {item_id: item.title for item_id, item in looked.items.items()}
        return {
            candidate.item_id: _apart(candidate, asked, shares.text[:, at], titles)
            for at, candidate in enumerate(found.candidates)
        }

    async def _facts(self, answer: Recommendations, limit: int) -> list[Facts]:
        explained = [item for item in answer.items[:limit] if item.evidence is not None]
        ids = {item.item_id for item in explained}
        for item in explained:
            for_it = [s for s in _part(item.evidence).shares if s.item_id and s.share > 0]
            ids |= {share.item_id for share in for_it[:CITABLE] if share.item_id}
        known: Mapping[str, Item] = {}
        with suppress(GenerationMissing, SearchUnavailable):  # the answer has the titles already
            known = (await self._searcher.lookup(answer.generation, sorted(ids))).items
        scale = self._generations.current().weights.rating_scale
        return [
            facts_of(
                known.get(item.item_id) or Item(item.item_id, item.title),
                _part(item.evidence),
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


@dataclass(frozen=True, slots=True)
class _Spoken:
    """The text asked for, and its addend to the query vector, float64 [dim]."""

    text: str
    addend: Float64s


@dataclass(frozen=True, slots=True)
class _Asked:
    """What pulls an answer: events, and the sum of all that pulls, float64 [dim]."""

    events: tuple[WeightedEvent, ...]
    vector: Float64s
    spoken: _Spoken | None
    coverages: Sequence[Coverage]


async def _interleaved(streams: Sequence[AsyncIterator[T]]) -> AsyncIterator[T]:
    """Values of all streams as they come; leaving early, or one failing, stops every stream."""
    arrived: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue()

    async def forward(stream: AsyncIterator[T]) -> None:
        try:
            async for value in stream:
                arrived.put_nowait((value,))
            arrived.put_nowait(None)
        except Exception as failure:  # noqa: BLE001 raised again where the values are read
            arrived.put_nowait(failure)

    tasks = [asyncio.create_task(forward(stream)) for stream in streams]
    running = len(tasks)
    try:
        while running:
            match await arrived.get():
                case None:
                    running -= 1
                case Exception() as failure:
                    raise failure
                case (value,):
                    yield value
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check(condition: Filter | None, manifest: Manifest) -> None:
    if condition is not None:
        validate_filter(condition, {name: spec.kind for name, spec in manifest.fields.items()})


def _no_item(item_id: str, coverage: Coverage) -> ItemNotFound | SearchUnavailable:
    if coverage.complete:
        return ItemNotFound(f"the catalogue has no item {item_id!r}.", item_id=item_id)
    return SearchUnavailable(
        f"item {item_id!r} may be on a shard that does not answer now; try again shortly."
    )


def _prior_factor(asked: _Asked, manifest: Manifest) -> float:
    """prior · fade / (fade + Σ|w|), with an exact sum: the order of events does not matter."""
    mix = manifest.mix
    pull = math.fsum(abs(event.weight) for event in asked.events)
    pull += mix.query if asked.spoken is not None else 0.0
    return mix.prior * mix.prior_fade / (mix.prior_fade + pull)


def _apart(
    candidate: Candidate, asked: _Asked, text_shares: Float64s, titles: Mapping[str, str]
) -> Evidence:
    """One candidate's shares, largest first; what they leave of the score was on a shard that is
    lost.
    """
    both = text_shares + _part(candidate.neighbour_shares)
    shares = [
        EventShare(
            event.event_id, event.item_id, titles.get(event.item_id), event.type, share, event.value
        )
        for event, share in zip(asked.events, both.tolist(), strict=True)
    ]
    if asked.spoken is not None:
        share = float(dots(_part(candidate.vector)[np.newaxis], asked.spoken.addend)[0])
        shares.append(EventShare(QUERY, None, asked.spoken.text, QUERY, share))
    left = candidate.score - candidate.prior - math.fsum(share.share for share in shares)
    if abs(left) > TOLERANCE * max(abs(candidate.score), 1.0):
        shares.append(EventShare(UNATTRIBUTED, None, None, UNATTRIBUTED, left))
    told = sorted((s for s in shares if s.share), key=lambda s: (-abs(s.share), s.event_id))
    return Evidence(tuple(told), candidate.prior)


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


def _part(part: T | None) -> T:
    """What an answer with parts must hold."""
    if part is None:
        raise TypeError("an answer with parts came without them")
    return part


def _seed(recommendation_id: str, item_id: str) -> int:
    """Differs between answers and items, and is the same when an answer is explained again."""
    return int.from_bytes(
        blake2b(f"{recommendation_id}/{item_id}".encode(), digest_size=4).digest()
    )
