"""A user id in, what the user's history pulls towards out: the fold and its vector, cached.

The cache is checked against the user version and the generation, so a new event or a new generation
is never answered from an old entry. While the event store does not answer, the last known state is
used, and the answer says so.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from llmrec_ray.errors import EventStoreUnavailable
from llmrec_ray.feedback.rows import user_key
from llmrec_ray.feedback.user import fold
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.ports import Histories, Searcher
from llmrec_ray.timing import stage
from llmrec_ray.types import Coverage, Float64s, UserState

NOBODY = UserState(user_version=0)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the fold, and Σ w [τ q ; γ (t - mean)] over it, from the shards that answered."""

    generation: str
    state: UserState
    vector: Float64s
    coverage: Coverage | None
    degraded: tuple[str, ...] = ()


class Users:
    """Reads user states for the event loop; at most `cached` users are remembered."""

    def __init__(self, events: Histories, searcher: Searcher, *, history: int, cached: int) -> None:
        self._events = events
        self._searcher = searcher
        self._history = history
        self._cached = cached
        self._known: OrderedDict[str, Asker] = OrderedDict()

    async def of(self, user_id: str | None, manifest: Manifest) -> Asker:
        """The asker behind a user id; None and ids never seen are askers without history."""
        if user_id is None:
            return await self._gather(NOBODY, manifest)
        known = self._known.get(user_id)
        try:
            with stage("user"):
                version = await asyncio.to_thread(self._events.user_version, user_id)
            if known and _answers(known, version, manifest):
                self._known.move_to_end(user_id)
                return known
            with stage("user"):
                history = await asyncio.to_thread(self._events.history, user_id, self._history)
        except EventStoreUnavailable:
            last = await self._gather(known.state if known else NOBODY, manifest)
            return replace(last, degraded=("feedback",))
        asker = await self._gather(fold(history, manifest.weights), manifest)
        self._known[user_id] = asker
        self._known.move_to_end(user_id)
        while len(self._known) > self._cached:
            self._known.popitem(last=False)
        return asker

    def forget(self, user_id: str) -> None:
        """Drop what is remembered of a user."""
        self._known.pop(user_id, None)

    def forget_keys(self, keys: Collection[bytes]) -> None:
        """Drop what is remembered of users that are known by their digests alone."""
        for user_id in [one for one in self._known if user_key(one) in keys]:
            self.forget(user_id)

    async def _gather(self, state: UserState, manifest: Manifest) -> Asker:
        if not state.events:
            empty = np.zeros(manifest.dim)
            return Asker(manifest.generation, state, empty, None)
        with stage("gather"):
            gathered = await self._searcher.gather(manifest.generation, state.events)
        return Asker(manifest.generation, state, gathered.vector, gathered.coverage)


def _answers(known: Asker, version: int, manifest: Manifest) -> bool:
    """Whether a remembered asker is what would be gathered now; never with a missing shard."""
    current = known.state.user_version == version and known.generation == manifest.generation
    return current and (known.coverage is None or known.coverage.complete)
