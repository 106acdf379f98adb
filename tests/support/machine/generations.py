"""Rules: generations are published, made current, rolled back and collected, with faults."""

from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from llmrec_ray.errors import GenerationNotFound
from llmrec_ray.generation.activation import activate, current, rollback
from llmrec_ray.generation.collection import collect_garbage
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, load_manifest, manifest_key
from llmrec_ray.generation.retention import Retention
from tests.support.faults import FaultAt, How, pass_time
from tests.support.machine.drawn import AT, HOWS, KEEPS, NUMBERS, SEEDS
from tests.support.machine.state import A_DAY, Published, State
from tests.support.naive import catalogue, draft_of

SEGMENTS = 4
START = datetime(2026, 1, 1, tzinfo=UTC)


class GenerationRules(State):
    """Generations come, become current, and go."""

    @invariant()
    def the_store_lists_what_was_published_and_is_current(self) -> None:
        assert list_generations(self.store) == sorted(self.generations)
        newest = current(self.store)
        told = newest and (newest.generation, newest.number)
        assert told == (
            (self.activations[-1][0], len(self.activations)) if self.activations else None
        )

    @rule(numbers=NUMBERS, seed=SEEDS, beside=st.booleans())
    def publish(self, numbers: frozenset[int], seed: int, beside: bool) -> None:
        self.count("publish" + ", beside" * beside)
        self._publish(FaultAt(self.store, -1, "lost"), numbers, seed, beside)

    @rule(numbers=NUMBERS, seed=SEEDS, beside=st.booleans(), at=AT, how=HOWS)
    def publish_with_a_fault(
        self, numbers: frozenset[int], seed: int, beside: bool, at: int, how: How
    ) -> None:
        self.count("publish" + ", beside" * beside + f", {how}")
        self._publish(FaultAt(self.store, at, how), numbers, seed, beside)

    def _publish(self, store: FaultAt, numbers: frozenset[int], seed: int, beside: bool) -> None:
        made = catalogue(numbers, seed)
        published = Published(made, self.day)
        base: Manifest | None = None
        if beside and self.activations:
            base = load_manifest(self.store, self.activations[-1][0])
        manifest = self.run(
            store,
            lambda to: publish(to, draft_of(made), segments=SEGMENTS, base=base),
            conflict="collection",
        )
        self.follow(store, published)
        if manifest is not None:
            assert manifest.generation in self.generations
            assert self.generations[manifest.generation].catalogue.items.keys() == made.items.keys()
            self.holds_what_the_model_does(manifest.generation)

    @precondition(lambda self: self.generations)
    @rule(which=st.integers(0, 99))
    def activate(self, which: int) -> None:
        self.count("activate")
        self._activate(FaultAt(self.store, -1, "lost"), which)

    @precondition(lambda self: self.generations)
    @rule(which=st.integers(0, 99), at=st.integers(0, 2), how=HOWS)
    def activate_with_a_fault(self, which: int, at: int, how: How) -> None:
        self.count(f"activate, {how}")
        self._activate(FaultAt(self.store, at, how), which)

    def _activate(self, store: FaultAt, which: int) -> None:
        name = sorted(self.generations)[which % len(self.generations)]
        made = self.run(store, lambda to: activate(to, name, "machine"), conflict="collection")
        self.follow(store)
        assert made is None or self.activations[-1][0] == name

    @rule(at=st.integers(-1, 2), how=HOWS)
    def roll_back(self, at: int, how: How) -> None:
        self.count("rollback" if at < 0 else f"rollback, {how}")
        store = FaultAt(self.store, at, how)
        earlier = [name for name, _ in self.activations if name != self.activations[-1][0]]
        try:
            made = self.run(store, lambda to: rollback(to, "machine"), conflict="collection")
        except GenerationNotFound:
            assert not earlier or earlier[-1] not in self.generations
            return
        self.follow(store)
        assert made is None or made.generation == earlier[-1]

    @rule(keep=KEEPS)
    def collect(self, keep: int) -> None:
        self.count("gc")
        self._collect(FaultAt(self.store, -1, "lost"), keep)

    @rule(keep=KEEPS, at=st.integers(0, 8), how=HOWS)
    def collect_with_a_fault(self, keep: int, at: int, how: How) -> None:
        self.count(f"gc, {how}")
        self._collect(FaultAt(self.store, at, how), keep)

    def _collect(self, store: FaultAt, keep: int) -> None:
        needed = self._needed(keep)
        done = self.run(store, lambda to: collect_garbage(to, Retention(keep)), conflict="writer")
        assert done is None or not done.deleted.sizes or not self.left("writer")
        self.follow(store)
        assert needed <= self.generations.keys()
        if done is not None:
            assert needed == self.generations.keys()
            self._no_old_garbage()
        self.all_sound()

    @rule()
    def a_day_passes(self) -> None:
        self.count("a day")
        self.late_requests_arrive()
        pass_time(self.objects, A_DAY)
        self.leases.clear()
        self.day += 1

    @precondition(lambda self: self.late)
    @rule()
    def late_requests_arrive(self) -> None:
        self.count("late requests")
        late, self.late = self.late, []
        for store, made in late:
            store.created.clear()
            store.deleted.clear()
            store.arrive()
            self.follow(store, made)

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
