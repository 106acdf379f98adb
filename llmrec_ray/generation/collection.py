"""Collecting: what a store holds in, the generations and objects that nobody needs deleted.

Needed is what the newest activations name, what was current or published within the grace period,
and every object that a manifest names which stays. Manifests go first: a collection that stops
half way leaves no generation that lacks an object, and the next one takes the rest.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llmrec_ray.errors import InvalidInput, NotFound
from llmrec_ray.generation.activation import recently_current
from llmrec_ray.generation.leases import Clock, collecting, remove_expired
from llmrec_ray.generation.published import (
    GENERATIONS,
    OBJECTS,
    list_generations,
    load_manifest,
    manifest_key,
)
from llmrec_ray.generation.retention import Retention
from llmrec_ray.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class Garbage:
    """Generations that are not needed, and the sizes of the objects by key, manifests included."""

    generations: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def objects(self) -> int:
        """How many objects there are beside the manifests."""
        return len(self.sizes) - len(self.generations)

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


@dataclass(frozen=True, slots=True)
class Collected:
    """What was deleted; `left` is how many objects the next collection will find."""

    deleted: Garbage
    left: int


def find_garbage(store: ObjectStore, retention: Retention, now: datetime | None = None) -> Garbage:
    """What a collection would delete; `now` is by the store's clock, and this process's without it.

    Raises `Corrupt` where a manifest or an activation that counts cannot be read: what it names is
    not known then, and everything might be.
    """
    if retention.keep < 1:
        raise InvalidInput("the current generation is always kept: keep 1 or more.", field="keep")
    young = (now or datetime.now(UTC)) - retention.grace
    stored, published = store.stats(f"{OBJECTS}/"), store.stats(f"{GENERATIONS}/")
    in_use = recently_current(store, retention.keep, young)
    generations = list_generations(store)
    doomed = tuple(
        name
        for name in generations
        if name not in in_use
        and (found := published.get(manifest_key(name)))
        and found.modified < young
    )
    named = {key for name in generations if name not in doomed for key in _named(store, name)}
    sizes = {manifest_key(name): published[manifest_key(name)].bytes for name in doomed}
    sizes |= {
        key: found.bytes
        for key, found in stored.items()
        if key not in named and found.modified < young
    }
    return Garbage(doomed, sizes)


def collect_garbage(
    store: ObjectStore, retention: Retention, clock: Clock = time.monotonic
) -> Collected:
    """Delete what is not needed; safe beside publishes, activations, readers and other collections.

    Raises `Conflict` where a publish or an activation is under way, `Corrupt` as `find_garbage`
    does; nothing is deleted then.
    """
    announced = find_garbage(store, retention)
    if not announced.sizes:
        return Collected(Garbage(), 0)
    deleted: dict[str, int] = {}
    with collecting(store, tuple(announced.sizes), clock) as lease:
        # what was found before nobody knew of this collection may have come into use since
        now_too = find_garbage(store, retention, lease.at)
        doomed = [key for key in announced.sizes if key in now_too.sizes]
        for key in doomed:
            if lease.used > 1 / 2:  # no request of ours may be on its way when it runs out
                break
            store.delete(key)
            deleted[key] = now_too.sizes[key]
        remove_expired(store, lease.at)
    gone = tuple(name for name in announced.generations if manifest_key(name) in deleted)
    return Collected(Garbage(gone, deleted), len(doomed) - len(deleted))


def _named(store: ObjectStore, generation: str) -> set[str]:
    """The keys of a generation's objects; none where another collection deleted it just now."""
    try:
        manifest = load_manifest(store, generation)
    except NotFound:
        return set()
    return {ref.key for segment in manifest.segments for ref in segment.objects.values()}
