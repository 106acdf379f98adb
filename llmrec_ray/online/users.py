"""A user id in, what the user's history pulls towards out: the fold and its vector, cached.

What reviews say is read from the store, never from an encoder; one that was not read yet by the
encoder of the generation is told to `unread`, and counts by its item alone meanwhile.

The cache is checked against the user version and the generation, so a new event or a new generation
is never answered from an old entry. While the event store does not answer, the last known state is
used, and the answer says so.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmrec_ray.errors import EventStoreUnavailable
from llmrec_ray.feedback.rows import user_key
from llmrec_ray.feedback.user import fold, reviews
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.ports import Histories, History, Searcher
from llmrec_ray.search.opinions import opinions_vector
from llmrec_ray.timing import stage
from llmrec_ray.types import Coverage, Event, Float64s, Opinion, Reading, UserState

NOBODY = UserState(user_version=0)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the fold, and Σ w [τ q ; γ (t - mean)] over it, from the shards that answered.

    `opinions` are those of the fold that the generation's encoder read: no others are in `vector`.
    """

    generation: str
    state: UserState
    vector: Float64s
    coverage: Coverage | None
    opinions: tuple[Opinion, ...] = ()
    degraded: tuple[str, ...] = ()

    def behind(self, found: Coverage) -> bool:
        """Whether the shards have applied live changes since the vector was gathered."""
        then = self.coverage.delta_seq if self.coverage else None
        return then is not None and found.delta_seq is not None and then < found.delta_seq


class Users:
    """Reads user states for the event loop; at most `cached` users are remembered."""

    def __init__(
        self,
        events: Histories,
        searcher: Searcher,
        *,
        history: int,
        cached: int,
        unread: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        self._events = events
        self._searcher = searcher
        self._history = history
        self._cached = cached
        self._unread = unread
        self._known: OrderedDict[str, Asker] = OrderedDict()
        self._forgotten = 0

    async def of(self, user_id: str | None, manifest: Manifest) -> Asker:
        """The asker behind a user id; None and ids never seen are askers without history."""
        if user_id is None:
            return await self.gather(NOBODY, manifest)
        known, forgotten = self._known.get(user_id), self._forgotten
        try:
            with stage("user"):
                version = await asyncio.to_thread(self._events.user_version, user_id)
            if known and _answers(known, version, manifest):
                self._remember(user_id, known, forgotten)
                return known
            with stage("user"):
                history, read = await asyncio.to_thread(self._read, user_id, manifest)
        except EventStoreUnavailable:
            last = await self.gather(known.state if known else NOBODY, manifest)
            return replace(last, degraded=("feedback",))
        self._unread([one for one in reviews(history) if one.event_id not in read])
        asker = await self.gather(fold(history, manifest.weights, read), manifest)
        self._remember(user_id, asker, forgotten)
        return asker

    async def unmoved(self, user_id: str, asker: Asker, manifest: Manifest) -> Asker | None:
        """The asker as shards have it by now, remembered; None where its vector is another one.

        Most live changes are of items that a user has nothing to do with: to gather again is
        cheaper than to read the history and to search again.
        """
        forgotten = self._forgotten
        again = await self.gather(asker.state, manifest)
        if not np.array_equal(again.vector, asker.vector):
            self.forget(user_id)
            return None
        self._remember(user_id, again, forgotten)
        return again

    def forget(self, user_id: str) -> None:
        """Drop what is remembered of a user, and what requests are reading meanwhile."""
        self._forgotten += 1
        self._known.pop(user_id, None)

    def forget_keys(self, keys: Collection[bytes]) -> None:
        """As `forget`, for users that are known by their digests alone."""
        self._forgotten += 1
        for user_id in [one for one in self._known if user_key(one) in keys]:
            self.forget(user_id)

    def _remember(self, user_id: str, asker: Asker, forgotten: int) -> None:
        """Unless a user was forgotten since, who may be this one: it is read again next time."""
        if forgotten != self._forgotten:
            return
        self._known[user_id] = asker
        self._known.move_to_end(user_id)
        while len(self._known) > self._cached:
            self._known.popitem(last=False)

    async def gather(self, state: UserState, manifest: Manifest) -> Asker:
        """The asker that a state makes, with what the shards own of it."""
        if not state.events:
            empty = np.zeros(manifest.dim)
            return Asker(manifest.generation, state, empty, None)
        with stage("gather"):
            gathered = await self._searcher.gather(manifest.generation, state.events)
        encoder = manifest.encoder.hash
        opinions = tuple(one for one in state.opinions if one.reading.encoder == encoder)
        said = opinions_vector(opinions, manifest.mix, manifest.taste_dim, manifest.dim)
        vector = gathered.vector + said
        return Asker(manifest.generation, state, vector, gathered.coverage, opinions)

    def _read(self, user_id: str, manifest: Manifest) -> tuple[History, Mapping[str, Reading]]:
        """The history, and what was read in its reviews when it had that version."""
        history = self._events.history(user_id, self._history)
        ids = [event.event_id for event in reviews(history)]
        if not ids:
            return history, {}
        at = history.user_version
        return history, self._events.readings(ids, manifest.encoder.hash, at)


def _answers(known: Asker, version: int, manifest: Manifest) -> bool:
    """Whether a remembered asker is what would be gathered now; never with a missing shard."""
    current = known.state.user_version == version and known.generation == manifest.generation
    return current and (known.coverage is None or known.coverage.complete)
