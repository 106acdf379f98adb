"""Random work on generations, beside a naive model: every answer and every listing is compared.

`python -m tests.support.machine --examples 200 --steps 50 --seed 1` runs it and prints how many
operations there were.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import (
    Conflict,
    GenerationNotFound,
    ItemNotFound,
    NotReady,
    StoreUnavailable,
)
from llmrec_ray.generation.activation import activate, current, rollback
from llmrec_ray.generation.collection import Retention, collect_garbage
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, manifest_key, verify
from llmrec_ray.ports import ObjectStore
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import (
    AnyOf,
    Event,
    Metric,
    Recommendations,
    RecommendRequest,
    Scope,
    SessionItem,
)
from tests.support.faults import CRASHES, REPLIES, Crashed, FaultAt, How, pass_time
from tests.support.generations import FaultyStore
from tests.support.library import Service
from tests.support.naive import (
    TEXT_DIM,
    WORTH,
    Catalogue,
    catalogue,
    draft_of,
    folded,
    same_ranking,
)

T = TypeVar("T")

SEGMENTS = 4
A_DAY = timedelta(hours=25)  # longer than the grace period
START = datetime(2026, 1, 1, tzinfo=UTC)

NUMBERS = st.frozensets(st.integers(0, 24), min_size=1, max_size=14)
SEEDS = st.integers(0, 3)
ITEMS = st.integers(0, 24).map("f{}".format)
LIMITS = st.sampled_from([1, 3, 30])
GENRES = st.sampled_from([None, "genre 0", "genre 1"])
TEXTS = st.sampled_from(["a robot in space", "music of the sea", "x"])
METRICS: st.SearchStrategy[Metric] = st.sampled_from(["cosine", "dot", "euclidean"])
SHARDS = st.sampled_from([1, 2, 4])
KEEPS = st.integers(1, 3)
HOWS: st.SearchStrategy[How] = st.sampled_from([*CRASHES, *REPLIES])
AT = st.integers(0, 24)
SESSIONS = st.lists(
    st.tuples(ITEMS, st.sampled_from([1.0, 0.5, -1.0])), max_size=4, unique_by=lambda pair: pair[0]
)


@dataclass(frozen=True)
class Published:
    """A generation as the model knows it: what is in it, and the day it was published."""

    catalogue: Catalogue
    day: int


class Generations(RuleBasedStateMachine):
    """Publishes, activations, collections, restarts, faults and questions in any order."""

    operations: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="llmrec-machine-"))
        self.objects = self.folder / "objects"
        self.store = FolderStore(self.objects, durable=False)
        self.service = Service(self.folder, FaultyStore(self.store), 1)
        self.generations: dict[str, Published] = {}
        self.activations: list[tuple[str, int]] = []
        self.serving: Published | None = None
        self.serving_name: str | None = None
        self.day = 0
        self.events: dict[str, list[tuple[str, float]]] = {}
        self.told = 0
        self.late: list[tuple[FaultAt, Catalogue | None]] = []
        self.leases: set[str] = set()

    def teardown(self) -> None:
        self.service.close()
        self._all_sound()
        shutil.rmtree(self.folder)

    # ── what is there ────────────────────────────────────────────────────────────────────────────

    def visible(self) -> Catalogue | None:
        """What the next answer is computed from: the generation that is served."""
        return self.serving.catalogue if self.serving else None

    @invariant()
    def the_store_lists_what_was_published_and_is_current(self) -> None:
        assert list_generations(self.store) == sorted(self.generations)
        newest = current(self.store)
        told = newest and (newest.generation, newest.number)
        assert told == (
            (self.activations[-1][0], len(self.activations)) if self.activations else None
        )

    def _all_sound(self) -> None:
        for name in self.generations:
            assert verify(self.store, name) == []

    # ── generations come, become current, and go ─────────────────────────────────────────────────

    @initialize(numbers=NUMBERS, seed=SEEDS)
    def the_first_generation(self, numbers: frozenset[int], seed: int) -> None:
        self.publish(numbers, seed)
        self.activate(0)
        self.look()

    @rule(numbers=NUMBERS, seed=SEEDS)
    def publish(self, numbers: frozenset[int], seed: int) -> None:
        self._count("publish")
        self._publish(FaultAt(self.store, -1, "lost"), numbers, seed)

    @rule(numbers=NUMBERS, seed=SEEDS, at=AT, how=HOWS)
    def publish_with_a_fault(self, numbers: frozenset[int], seed: int, at: int, how: How) -> None:
        self._count(f"publish, {how}")
        self._publish(FaultAt(self.store, at, how), numbers, seed)

    def _publish(self, store: FaultAt, numbers: frozenset[int], seed: int) -> None:
        made = catalogue(numbers, seed)
        manifest = self._run(
            store, lambda to: publish(to, draft_of(made), segments=SEGMENTS), conflict="collection"
        )
        self._follow(store, made)
        if manifest is not None:
            assert manifest.generation in self.generations
            assert self.generations[manifest.generation].catalogue.items.keys() == made.items.keys()

    @precondition(lambda self: self.generations)
    @rule(which=st.integers(0, 99))
    def activate(self, which: int) -> None:
        self._count("activate")
        self._activate(FaultAt(self.store, -1, "lost"), which)

    @precondition(lambda self: self.generations)
    @rule(which=st.integers(0, 99), at=st.integers(0, 2), how=HOWS)
    def activate_with_a_fault(self, which: int, at: int, how: How) -> None:
        self._count(f"activate, {how}")
        self._activate(FaultAt(self.store, at, how), which)

    def _activate(self, store: FaultAt, which: int) -> None:
        name = sorted(self.generations)[which % len(self.generations)]
        made = self._run(store, lambda to: activate(to, name, "machine"), conflict="collection")
        self._follow(store)
        assert made is None or self.activations[-1][0] == name

    @rule(at=st.integers(-1, 2), how=HOWS)
    def roll_back(self, at: int, how: How) -> None:
        self._count("rollback" if at < 0 else f"rollback, {how}")
        store = FaultAt(self.store, at, how)
        earlier = [name for name, _ in self.activations if name != self.activations[-1][0]]
        try:
            made = self._run(store, lambda to: rollback(to, "machine"), conflict="collection")
        except GenerationNotFound:
            assert not earlier or earlier[-1] not in self.generations
            return
        self._follow(store)
        assert made is None or made.generation == earlier[-1]

    @rule(keep=KEEPS)
    def collect(self, keep: int) -> None:
        self._count("gc")
        self._collect(FaultAt(self.store, -1, "lost"), keep)

    @rule(keep=KEEPS, at=st.integers(0, 8), how=HOWS)
    def collect_with_a_fault(self, keep: int, at: int, how: How) -> None:
        self._count(f"gc, {how}")
        self._collect(FaultAt(self.store, at, how), keep)

    def _collect(self, store: FaultAt, keep: int) -> None:
        needed = self._needed(keep)
        done = self._run(store, lambda to: collect_garbage(to, Retention(keep)), conflict="writer")
        assert done is None or not done.deleted.sizes or not self._left("writer")
        self._follow(store)
        assert needed <= self.generations.keys()
        if done is not None:
            assert needed == self.generations.keys()
            self._no_old_garbage()
        self._all_sound()

    @rule()
    def a_day_passes(self) -> None:
        self._count("a day")
        self.late_requests_arrive()
        pass_time(self.objects, A_DAY)
        self.leases.clear()
        self.day += 1

    @precondition(lambda self: self.late)
    @rule()
    def late_requests_arrive(self) -> None:
        self._count("late requests")
        late, self.late = self.late, []
        for store, made in late:
            store.created.clear()
            store.deleted.clear()
            store.arrive()
            self._follow(store, made)

    # ── the service ──────────────────────────────────────────────────────────────────────────────

    @rule()
    def look(self) -> None:
        self._count("look")
        self.service.look()
        if self.activations:
            self.serving_name = self.activations[-1][0]
            self.serving = self.generations[self.serving_name]

    @rule()
    def look_while_the_store_is_down(self) -> None:
        self._count("look, store down")
        self.service.store.down = True
        with pytest.raises(StoreUnavailable):
            self.service.look()
        self.service.store.down = False

    @rule(shards=SHARDS)
    def restart(self, shards: int) -> None:
        self._count("restart, reshard")
        before = self.store.stats("")
        self.service.close()
        self.service = Service(self.folder, FaultyStore(self.store), shards)
        self.look()
        assert self.service.store.created == []
        assert self.store.stats("") == before, "another number of shards moves no data"

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    @rule(session=SESSIONS, text=st.none() | TEXTS, limit=LIMITS, genre=GENRES)
    def recommend(
        self, session: list[tuple[str, float]], text: str | None, limit: int, genre: str | None
    ) -> None:
        self._count("recommend")
        request = RecommendRequest(
            session=tuple(SessionItem(*pair) for pair in session),
            text=text,
            limit=limit,
            filter=AnyOf("genre", (genre,)) if genre else None,
        )
        vector = _vector(text) if text else None
        self._compare(
            self.service.recommender.recommend(request),
            lambda catalogue: catalogue.scores(folded(session), vector),
            limit,
            genre,
            {item_id for item_id, _ in session},
        )

    @rule(user=st.sampled_from(["u1", "u2"]), limit=LIMITS)
    def recommend_to_a_user(self, user: str, limit: int) -> None:
        self._count("recommend to a user")
        events = self.events.get(user, [])
        self._compare(
            self.service.recommender.recommend(RecommendRequest(user_id=user, limit=limit)),
            lambda catalogue: catalogue.scores(folded(events)),
            limit,
            None,
            {item_id for item_id, _ in events},
        )

    @rule(text=TEXTS, metric=METRICS, limit=LIMITS, genre=GENRES)
    def search(self, text: str, metric: Metric, limit: int, genre: str | None) -> None:
        self._count("search")
        scope = Scope(limit, AnyOf("genre", (genre,)) if genre else None)
        self._compare(
            self.service.recommender.search(text, metric, scope),
            lambda catalogue: catalogue.nearest(_vector(text), metric),
            limit,
            genre,
            set(),
        )

    @rule(item_id=ITEMS, metric=METRICS, limit=LIMITS)
    def similar(self, item_id: str, metric: Metric, limit: int) -> None:
        self._count("similar")
        asked = self.service.recommender.similar(item_id, metric, Scope(limit))
        catalogue = self.visible()
        if catalogue is not None and item_id not in catalogue.items:
            with pytest.raises(ItemNotFound):
                asyncio.run(asked)
            return
        self._compare(
            asked,
            lambda seen: seen.nearest(seen.items[item_id].text, metric),
            limit,
            None,
            {item_id},
        )

    @precondition(lambda self: self.visible() is not None)
    @rule(item_id=ITEMS)
    def item(self, item_id: str) -> None:
        self._count("item")
        catalogue = self.visible()
        assert catalogue is not None
        expected = catalogue.items.get(item_id)
        try:
            _, found = asyncio.run(self.service.recommender.item(item_id))
        except ItemNotFound:
            assert expected is None
            return
        assert expected is not None
        assert (found.title, found.fields["genre"]) == (expected.title, expected.genre)

    @precondition(lambda self: self.visible() is not None)
    @rule(user=st.sampled_from(["u1", "u2"]), item_id=ITEMS, kind=st.sampled_from(["like", "view"]))
    def learn(self, user: str, item_id: str, kind: Any) -> None:
        self._count("event")
        self.told += 1
        time = START + timedelta(minutes=self.told)
        event = Event(f"e{self.told:06}", user, item_id, kind, time)
        learned = asyncio.run(self.service.recommender.learn([event]))
        catalogue = self.visible()
        assert catalogue is not None
        assert learned.accepted == (item_id in catalogue.items)
        if learned.accepted:
            self.events.setdefault(user, []).append((item_id, WORTH[kind]))

    def _compare(
        self,
        asked: Coroutine[Any, Any, Recommendations],
        scores: Callable[[Catalogue], dict[str, float]],
        limit: int,
        genre: str | None,
        excluded: set[str],
    ) -> None:
        catalogue = self.visible()
        if catalogue is None:
            with pytest.raises(NotReady):
                asyncio.run(asked)
            return
        answer = asyncio.run(asked)
        assert answer.generation == self.serving_name
        assert answer.coverage.complete
        told = [(item.item_id, item.score) for item in answer.items]
        assert [item.rank for item in answer.items] == list(range(1, len(told) + 1))
        assert all(item.title == catalogue.items[item.item_id].title for item in answer.items)
        allowed = {
            item_id
            for item_id, item in catalogue.items.items()
            if item_id not in excluded and genre in {None, item.genre}
        }
        assert same_ranking(told, scores(catalogue), allowed, limit), told
        type(self).operations["answers compared"] += 1

    # ── what the model makes of it ───────────────────────────────────────────────────────────────

    def _run(self, store: FaultAt, work: Callable[[ObjectStore], T], *, conflict: str) -> T | None:
        """The work's result; None where it was cut, or refused because of a lease of that kind."""
        try:
            return work(store)
        except (Crashed, StoreUnavailable):
            assert store.reached
        except Conflict:
            assert self._left(conflict)
        return None

    def _left(self, kind: str) -> bool:
        """Whether a lease of that kind was left today, by a death or by a collection."""
        return any(key.startswith(f"leases/{kind}-") for key in self.leases)

    def _follow(self, store: FaultAt, made: Catalogue | None = None) -> None:
        """Take over into the model what was really written and deleted."""
        for key in store.created:
            kind, name = key.split("/")[:2]
            if kind == "leases":
                self.leases.add(key)
            elif kind == "generations":
                assert made is not None
                self.generations[name] = Published(made, self.day)
            elif kind == "activations":
                stored = json.loads(self.store.get(key))
                self.activations.append((stored["generation"], self.day))
        for key in store.deleted:
            self.leases.discard(key)
            if key.startswith("generations/"):
                self.generations.pop(key.split("/")[1], None)
        if store.on_the_way:
            self.late.append((store, made))

    def _needed(self, keep: int) -> set[str]:
        """What a collection must leave of what is published."""
        young = {name for name, found in self.generations.items() if found.day == self.day}
        newest: set[str] = set()
        until = self.day
        for name, since in reversed(self.activations):
            if len(newest) < keep or until == self.day:
                newest.add(name)
            until = since
        return (young | newest) & self.generations.keys()

    def _no_old_garbage(self) -> None:
        named = "".join(self.store.get(manifest_key(name)).decode() for name in self.generations)
        since = max((s.modified for s in self.store.stats("").values()), default=START) - A_DAY
        for key, stat in self.store.stats("objects/").items():
            assert key in named or stat.modified > since

    def _count(self, operation: str) -> None:
        type(self).operations[operation] += 1


def _vector(text: str) -> np.ndarray:
    return HashingEmbedder(dim=TEXT_DIM).queries([text])[0]


def run(*, examples: int, steps: int, number: int) -> str:
    """Run the machine; what was done, in one line. A divergence is an `AssertionError`."""
    Generations.operations.clear()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(seed(number)(Generations), settings=chosen)
    done = Generations.operations
    answers = done.pop("answers compared", 0)
    return (
        f"{done.total()} operations of {len(done)} kinds, {answers} answers compared,"
        f" 0 divergences, seed {number}"
    )


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--examples", type=int, default=200)
    told.add_argument("--steps", type=int, default=50)
    told.add_argument("--seed", type=int, default=int(np.random.default_rng().integers(2**32)))
    given = told.parse_args()
    sys.stdout.write(f"seed {given.seed}\n")
    line = run(examples=given.examples, steps=given.steps, number=given.seed)
    rows = [f"  {name}: {count}\n" for name, count in sorted(Generations.operations.items())]
    sys.stdout.write("".join([*rows, line, "\n"]))


if __name__ == "__main__":
    main()
