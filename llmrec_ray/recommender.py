"""The online half: questions in, ranked items with evidence out; events in, answers changed.

Reads as a request runs: user state, gather, score, evidence, explain. An answer is computed from
one generation; when a shard does not hold it, the call is repeated once on the one that is current
by then, or else the previous one.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from llmrec_ray.bodies import AHEAD, in_the_future
from llmrec_ray.errors import (
    GenerationMissing,
    InvalidInput,
    ItemNotFound,
    NotReady,
    SearchUnavailable,
)
from llmrec_ray.explain.evidence import Facts, facts_of
from llmrec_ray.explain.explainer import Explainer, How, Piece
from llmrec_ray.feedback.elsewhere import Elsewhere
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.feedback.user import session, session_reviews
from llmrec_ray.forgetting import Receipt, forget_event, forget_user
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.interleave import interleaved
from llmrec_ray.item_log import ItemLog
from llmrec_ray.ports import EventStore, ObjectStore, QueryEmbedder, ReviewReader, Searcher
from llmrec_ray.replay import AsOf, Recalled, Replay, manifest_of, question_of, under_its_id
from llmrec_ray.reviews import Reviews
from llmrec_ray.search.exact import text_addend
from llmrec_ray.search.filters import validate_filter
from llmrec_ray.search.opinions import opinion_shares
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
    Question,
    Reading,
    Recommendations,
    Recommended,
    RecommendRequest,
    Scope,
    ScoreQuery,
    Shown,
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
    field: str = "item_id"


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of a batch of events."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...]
    user_versions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where an answer's users and texts come from: the stores of now, or what was kept of then."""

    users: Users
    embedder: QueryEmbedder
    read: Callable[[Mapping[str, str]], Awaitable[Mapping[str, Reading]]]
    history: int


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
        self._elsewhere = Elsewhere(events)
        self._items = items

    async def recommend(self, request: RecommendRequest) -> Recommendations:
        """Rank the catalogue for a user, a session, a text or all three.

        Raises `InvalidFilter`, `NotReady`, `SearchUnavailable`, and `EmbedderUnavailable` where a
        text is given.
        """
        shown = await self._pinned(lambda manifest: self._recommend(request, manifest, self._now))
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
        again = await self._recommend(question.request, manifest, then)
        return under_its_id(shown.answer, again.answer)

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
        """Store events durably; those for unknown items or times to come are rejected one by one.

        While a shard is lost its items cannot be told from unknown ones, and their events are
        accepted. Raises `EventConflict`, `EventStoreUnavailable`.
        """
        unknown = await self._unknown({event.item_id for event in events})
        latest = datetime.now(UTC) + AHEAD
        rejected = tuple(
            _rejected(index, event, late=event.time > latest)
            for index, event in enumerate(events)
            if event.item_id in unknown or event.time > latest
        )
        out = {one.index for one in rejected}
        usable = [event for index, event in enumerate(events) if index not in out]
        stored = await asyncio.to_thread(self._events.append, usable)
        versions = stored.user_versions | await self._reviews.read(usable)
        return Learned(stored.accepted, stored.duplicates, rejected, versions)

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

    # ── one recommendation ───────────────────────────────────────────────────────────────────────

    async def _recommend(
        self, request: RecommendRequest, manifest: Manifest, inputs: Inputs, again: bool = False
    ) -> Shown:
        _check(request.filter, manifest)
        asker = await inputs.users.of(request.user_id, manifest)
        told = session_reviews(request.session)
        read = await inputs.read(told)
        visit = await inputs.users.gather(
            session(request.session, manifest.weights, read), manifest
        )
        pull = await self._pull(request, (asker, visit), inputs.embedder, manifest)
        seen = asker.state.seen | visit.state.seen
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
        if request.user_id is not None and asker.behind(found.coverage) and not again:
            inputs.users.forget(request.user_id)  # it was gathered from items that changed since
            return await self._recommend(request, manifest, inputs, again=True)
        found = replace(found, coverage=reduce(Coverage.__and__, pull.coverages, found.coverage))
        evidence: dict[str, Evidence] = {}
        version = asker.state.user_version if request.user_id is not None else None
        with stage("rank"):
            if request.evidence:
                evidence = await self._evidence(found, pull, manifest)
            lost = asker.degraded if len(read) == len(told) else (*asker.degraded, "embed")
            answer = _answer(found, manifest, evidence, user_version=version, degraded=lost)
        vector = pull.spoken.vector.tobytes() if pull.spoken else None
        return Shown(request.user_id, answer, Question(request, inputs.history, vector, read))

    async def _pull(
        self,
        request: RecommendRequest,
        askers: tuple[Asker, Asker],
        embedder: QueryEmbedder,
        manifest: Manifest,
    ) -> Pull:
        """Everything that pulls: the user's events, the session's, and the text."""
        user, visit = askers
        vector = user.vector + visit.vector
        spoken = None
        if request.text is not None:
            with stage("embed"):
                embedded = await embedder.embed(request.text)
            mix = manifest.mix
            addend = text_addend(embedded, mix.query, mix, manifest.taste_dim)
            spoken = Spoken(request.text, embedded, addend)
            vector = vector + spoken.addend
        return Pull(
            (*user.state.events, *visit.state.events),
            (*user.opinions, *visit.opinions),
            vector,
            spoken,
            [one.coverage for one in askers if one.coverage is not None],
        )

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
        by_vectors = shares.by_vectors + opinion_shares(
            pull.opinions, pull.events, targets, manifest.mix, manifest.taste_dim
        )
        titles = {item_id: item.title for item_id, item in looked.items.items()}
        return {
            candidate.item_id: taken_apart(candidate, pull, by_vectors[:, at], titles)
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
            # what was current when the request began may have gone, and another come in its place
            for other in (self._generations.current(), self._generations.previous()):
                if other is not None and other.generation != current.generation:
                    return await ask(other)
            raise

    async def _unknown(self, item_ids: set[str]) -> frozenset[str]:
        """The ids that no shard has; none of them while a shard is lost."""

        async def ask(manifest: Manifest) -> frozenset[str]:
            looked = await self._searcher.lookup(manifest.generation, sorted(item_ids))
            return frozenset(item_ids - set(looked.items) if looked.coverage.complete else ())

        try:
            unknown = await self._pinned(ask)
        except (SearchUnavailable, NotReady):
            return frozenset()
        if not unknown or self._items is None:
            return unknown
        just_put = await asyncio.to_thread(self._items.current, unknown)  # not on its shard yet
        return unknown - {item_id for item_id, change in just_put.items() if change.item}


def _rejected(index: int, event: Event, *, late: bool) -> Rejected:
    if not late:
        detail = f"no item {event.item_id!r}."
        return Rejected(index, event.event_id, ItemNotFound.code, detail)
    return Rejected(index, event.event_id, InvalidInput.code, in_the_future(event.time), "time")


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
