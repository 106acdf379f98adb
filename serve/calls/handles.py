"""Deployments as the ports of the library: search with partial results, embedding."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar, cast

import numpy as np

from llmrec_ray.errors import (
    EmbedderUnavailable,
    Overloaded,
    SearchUnavailable,
    Unavailable,
)
from llmrec_ray.generation.buckets import shard_of
from llmrec_ray.online.answering import no_item
from llmrec_ray.search.merge import merge
from llmrec_ray.types import (
    Coverage,
    Float32s,
    Float64s,
    Found,
    Gathered,
    Item,
    ItemQuery,
    Looked,
    NearQuery,
    Reading,
    ScoreQuery,
    Shares,
    WeightedEvent,
)
from serve.calls import questions
from serve.calls.mailbox import Mailbox
from serve.calls.questions import Question, Told

A = TypeVar("A")

NO_EMBEDDER = "the text cannot be embedded now; ask without a text, or try again shortly."


class ShardSearcher:
    """The `Searcher` port over one mailbox per shard; a lost shard lowers the coverage."""

    def __init__(self, shards: Sequence[Mailbox]) -> None:
        self._shards = shards

    async def gather(self, generation: str, events: Sequence[WeightedEvent]) -> Gathered:
        owned = self._by_owner(events, lambda event: event.item_id)
        parts, coverage = await self._ask(
            {
                shard: questions.Gather(generation, tuple(events[at] for at in places))
                for shard, places in owned.items()
            }
        )
        if not parts:  # no owner answers: any other shard knows the dimension
            others = [shard for shard in range(len(self._shards)) if shard not in owned]
            parts, _ = await self._ask({s: questions.Gather(generation, ()) for s in others})
            self._require(parts)
        total: Float64s = np.stack(list(parts.values())).sum(axis=0)
        return Gathered(total, coverage)

    async def score(self, generation: str, query: ScoreQuery) -> Found:
        asked = {shard: questions.Score(generation, query) for shard in range(len(self._shards))}
        lists, coverage = await self._ask(asked)
        self._require(lists)
        return Found(merge(lists.values(), query.scope.limit), coverage)

    async def near(self, generation: str, query: NearQuery) -> Found:
        asked = {shard: questions.Near(generation, query) for shard in range(len(self._shards))}
        lists, coverage = await self._ask(asked)
        self._require(lists)
        return Found(merge(lists.values(), query.scope.limit), coverage)

    async def near_item(self, generation: str, query: ItemQuery) -> Found:
        owner = shard_of(query.item_id, len(self._shards))
        owned, coverage = await self._ask({owner: questions.NearItem(generation, query)})
        if (around := owned.get(owner)) is None:
            raise no_item(query.item_id, coverage)
        vector, nearest = around
        near = questions.Near(generation, query.at(vector))
        others = {shard: near for shard in range(len(self._shards)) if shard != owner}
        lists, beside = await self._ask(others)
        return Found(merge([nearest, *lists.values()], query.scope.limit), coverage & beside)

    async def shares(
        self, generation: str, events: Sequence[WeightedEvent], targets: Float32s
    ) -> Shares:
        owned = self._by_owner(events, lambda event: event.item_id)
        parts, coverage = await self._ask(
            {
                shard: questions.Shares(generation, tuple(events[at] for at in places), targets)
                for shard, places in owned.items()
            }
        )
        by_vectors: Float64s = np.zeros((len(events), len(targets)))
        for shard, part in parts.items():
            by_vectors[owned[shard]] = part
        return Shares(by_vectors, coverage)

    async def lookup(self, generation: str, item_ids: Sequence[str]) -> Looked:
        owned = self._by_owner(item_ids, lambda item_id: item_id)
        parts, coverage = await self._ask(
            {
                shard: questions.Lookup(generation, tuple(item_ids[at] for at in places))
                for shard, places in owned.items()
            }
        )
        items: dict[str, Item] = {}
        vectors: dict[str, Float32s] = {}
        for found, their_vectors in parts.values():
            items |= found
            vectors |= their_vectors
        return Looked(items, vectors, coverage)

    def _by_owner(self, things: Sequence[A], item_id: Callable[[A], str]) -> dict[int, list[int]]:
        """Which shard owns the things at which places; the others need not be asked."""
        owned: dict[int, list[int]] = {}
        for place, thing in enumerate(things):
            owned.setdefault(shard_of(item_id(thing), len(self._shards)), []).append(place)
        return owned

    async def _ask(self, asked: Mapping[int, Question[A]]) -> tuple[dict[int, A], Coverage]:
        """The answers that came; a shard that was not asked counts as answering."""
        replies = await asyncio.gather(
            *(self._shards[shard].ask(question) for shard, question in asked.items()),
            return_exceptions=True,
        )
        answered: dict[int, A] = {}
        positions: list[int] = []
        lost: list[Unavailable] = []
        for shard, reply in zip(asked, replies, strict=True):
            if isinstance(reply, Unavailable):
                lost.append(reply)
            elif isinstance(reply, BaseException):
                raise reply
            elif isinstance(reply, Told):
                answered[shard] = cast(A, reply.answer)
                positions += [] if reply.delta_seq is None else [reply.delta_seq]
            else:
                answered[shard] = reply
        total = len(self._shards)
        if len(lost) == total:
            raise _none_answers(lost)
        return answered, Coverage(total - len(lost), total, min(positions, default=None))

    def _require(self, answers: Mapping[int, object]) -> None:
        if not answers:
            raise SearchUnavailable("no shard answers; try again shortly.")


def _none_answers(lost: Sequence[Unavailable]) -> Unavailable:
    if all(isinstance(reply, Overloaded) for reply in lost):
        return Overloaded("every shard has too many requests waiting; try again shortly.")
    return SearchUnavailable("no shard answered before the deadline; try again shortly.")


class PoolEmbedder:
    """The `QueryEmbedder` port over the embedding pool; remembers the newest query vectors."""

    def __init__(
        self,
        call: Callable[[str], Awaitable[Float32s]],
        *,
        deadline_s: float,
        cached: int,
        runs: Callable[[], bool] = lambda: True,
    ) -> None:
        self._call = call
        self._runs = runs
        self._deadline_s = deadline_s
        self._cached = cached
        self._known: OrderedDict[str, Float32s] = OrderedDict()

    async def embed(self, text: str) -> Float32s:
        if (vector := self._known.get(text)) is not None:
            self._known.move_to_end(text)
            return vector
        if not self._runs():
            raise EmbedderUnavailable(NO_EMBEDDER)
        try:
            async with asyncio.timeout(self._deadline_s):
                vector = await self._call(text)
        except Exception as cause:
            raise EmbedderUnavailable(NO_EMBEDDER) from cause
        self._known[text] = vector
        while len(self._known) > self._cached:
            self._known.popitem(last=False)
        return vector


class PoolReader:
    """The `ReviewReader` port over the embedding pool; remembers nothing that a user wrote."""

    def __init__(
        self,
        call: Callable[[str], Awaitable[Reading]],
        *,
        deadline_s: float,
        runs: Callable[[], bool] = lambda: True,
    ) -> None:
        self._call = call
        self._deadline_s = deadline_s
        self._runs = runs

    async def read(self, text: str) -> Reading:
        if not self._runs():
            raise EmbedderUnavailable(NO_EMBEDDER)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._call(text)
        except Exception as cause:
            raise EmbedderUnavailable(NO_EMBEDDER) from cause
